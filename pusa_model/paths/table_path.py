"""The path of frames whose level is not a share of the clock: Euler steps in their own levels, whatever the sampler.

A sampler of higher order remembers slopes from before a frame has started or become clean. So these frames are taken from it: with
levels ``S[k, i]`` and the velocity v_k of row k they step by ``x_i += v_k (S[k + 1, i] - S[k, i])`` and overwrite what the sampler
made of them. State and velocity are kept for each row, because samplers go back to rows and ask between them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...schedulers.level_table import LevelTable

MOST = 1 - 2.0**-20  # level that a waiting frame counts as where a run begins or ends: at 1 nothing of a latent would be left
KEPT = 6  # rows that a sampler may go back
TOLD = 1e-4  # level of the clock below which x - D is rounding


class TablePath:
    """Euler state of some frames in one run.

    Args:
        table: of the whole clip.
        frames: latent frames that take this path.
        mask_at: ComfyUI's noise mask [B, 1 or C, T, h, w] at a level [B], or None; where it is 0 a frame stays pinned.
        device: of the run.
    """

    def __init__(
        self, table: LevelTable, frames: list[int], mask_at: Callable[[Tensor], Tensor] | None, device: torch.device
    ) -> None:
        self.table, self.mask_at = table, mask_at
        self.frames = torch.tensor(frames, device=device)
        self.own = LevelTable(table.clock, table.levels[:, frames].to(device))
        self.states: dict[int, Tensor] = {}
        self.velocities: dict[int, Tensor] = {}

    def at(self, sigma: Tensor) -> Tensor:
        """Levels of these frames, [n], at a level of the clock."""
        return self.own.at(_number(sigma))

    def window(self, sigma: Tensor) -> tuple[int, int] | None:
        """The frames that the network sees at a level of the clock; None for all."""
        row = min(self.table.row(_number(sigma))[0], self.table.rows - 1)
        return None if self.table.windows is None else self.table.windows[row]

    def begin(self, model_sampling, x: Tensor, sigma: Tensor, noise: Tensor, latent_image: Tensor) -> None:
        """Take the noised latent that enters the sampler at a level of the clock; later calls change nothing."""
        if not self.states:
            self.states[self.table.row(_number(sigma))[0]] = x[:, :, self.frames]
            self.noise = getattr(model_sampling, "noise_scale", 1.0) * noise[:, :, self.frames]
            self.latent = latent_image[:, :, self.frames]

    def advance(self, x: Tensor, sigma: Tensor) -> Tensor:
        """A copy of x [B, C, T, H, W] with these frames where their path is at ``sigma`` [B]."""
        x = x.clone()
        x[:, :, self.frames] = self._state(sigma).to(x)
        return x

    def observe(self, x: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
        """Remember the velocity ``v = (x - D) / sigma`` of these frames; returns them without noise, ``x - f v``.

        The first velocity of a row is that of the row: one between two rows counts where there is none.
        """
        row, part = self.table.row(_number(sigma))
        own = x[:, :, self.frames]
        velocity = (own - denoised[:, :, self.frames].to(own)) / sigma.clamp_min(TOLD).reshape(-1, 1, 1, 1, 1)
        if _number(sigma) >= TOLD and (not part or row not in self.velocities):
            self.velocities[row] = velocity
            for later in [each for each in self.states if each > row]:
                del self.states[later]
                self.velocities.pop(later, None)
            for kept in (self.states, self.velocities):
                for earlier in [each for each in kept if each < row - KEPT]:
                    del kept[earlier]
        return own - per_frame(self.at(sigma)).to(own) * velocity

    def finish(self, samples: Tensor, sigma: Tensor) -> Tensor:
        """Write these frames at the last level into the samples, un-noised as ``inverse_noise_scaling`` does."""
        samples = samples.clone()
        clean = 1 - per_frame(self.at(sigma).clamp_max(MOST))
        samples[:, :, self.frames] = (self._state(sigma) / clean).to(samples)
        return samples

    def _state(self, sigma: Tensor) -> Tensor:
        row, part = self.table.row(_number(sigma))
        known = max((each for each in self.states if each <= row), default=min(self.states))
        for each in range(known, row):
            velocity = self._velocity(each)
            moved = 0 if velocity is None else velocity * per_frame(self.own.levels[each + 1] - self.own.levels[each])
            self.states[each + 1] = self._masked(self.states[each] + moved, self.own.levels[each + 1], sigma)
        state, velocity = self.states[max(row, known)], self._velocity(row)
        if not part or velocity is None:
            return state
        between = self.at(sigma)
        return self._masked(state + velocity * per_frame(between - self.own.levels[row]), between, sigma)

    def _velocity(self, row: int) -> Tensor | None:
        """That of a row, or of the last one before that the sampler asked about."""
        return self.velocities.get(max((each for each in self.velocities if each <= row), default=-1))

    def _masked(self, state: Tensor, levels: Tensor, sigma: Tensor) -> Tensor:
        if self.mask_at is None:
            return state
        mask, levels = self.mask_at(sigma)[:, :, self.frames], per_frame(levels)
        return state * mask + (levels * self.noise + (1 - levels) * self.latent) * (1 - mask)


def per_frame(levels: Tensor) -> Tensor:
    """Levels [n] on the axes of a latent [B, C, n, h, w]."""
    return levels[None, None, :, None, None]


def _number(sigma: Tensor) -> float:
    """The level of the clock, which all rows of a batch share."""
    return float(sigma.flatten()[0])
