"""Given frames that are shown to the network with fresh noise at every step, and stay clean.

SkyReels-V2 calls it addnoise_condition (its c is ``m = c / 1000``), Diffusion Forcing noises its history so: what was made before
is not trusted to the last detail. The network is shown ``(1 - m) z + m eps`` and told m, whatever the level of the clip.

Source: SkyReels-V2 (arXiv 2504.13074), ``addnoise_condition``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ...schedulers import InputError

CHOICES = ("once", "steps", "always")
ALWAYS = 10**9  # rows


def rows_of(choice: str, steps: int) -> int:
    """In how many rows frames are shown with fresh noise; 0 where they are noised once and denoised with the clip.

    Raises:
        InputError: another choice, or no step.
    """
    if choice not in CHOICES:
        raise InputError(f"there is no `{choice[:40]}` for renoise; use {', '.join(CHOICES)}.")
    if steps < 1:
        raise InputError(f"`renoise_steps` is {steps}; it is 1 or more.")
    return {"once": 0, "steps": steps, "always": ALWAYS}[choice]


@dataclass(frozen=True)
class Renoised:
    """Frames that are shown with fresh noise.

    Attributes:
        frames: latent frames.
        multipliers: m of each, the level that it is shown at.
        rows: in how many rows from the first on; then it is shown clean.
    """

    frames: tuple[int, ...]
    multipliers: tuple[float, ...]
    rows: tuple[int, ...]

    def shown(self, x: Tensor, row: int, seed: int) -> Tensor:
        """A copy of the latent [B, C, T, h, w], whose frames here are clean, as the network is shown it in a row."""
        x = x.clone()
        for frame, m in zip(self.frames, self.levels(row)):
            if m:
                x[:, :, frame] = (1 - m) * x[:, :, frame] + m * fresh_noise(x[:, :, frame], seed, row, frame)
        return x

    def levels(self, row: int) -> list[float]:
        """The level of each frame in a row."""
        return [m if row < rows else 0.0 for m, rows in zip(self.multipliers, self.rows)]


def fresh_noise(like: Tensor, seed: int, row: int, frame: int) -> Tensor:
    """Noise [B, C, h, w] that depends on the seed of the run, the row and the frame, and on nothing else."""
    generator = torch.Generator().manual_seed(random.Random(f"renoise {seed} {row} {frame}").getrandbits(63))
    return torch.randn(like.shape, generator=generator).to(like)
