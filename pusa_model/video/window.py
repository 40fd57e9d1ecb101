"""One sampled window of a long video: frames that are given at its ends, and new ones between."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import comfy.model_management
import torch
from einops import rearrange
from torch import Tensor

from ...schedulers import fit_noise, latent_length
from ..condition import Condition
from ..families.lookup import of_model
from ..sampling import sample
from ..storage.identity import sampler_functions
from ..timeline.encode import encode_clip, encode_tail, target_size, vae_factor
from .window_store import load_window, store_window, window_key


@dataclass(frozen=True)
class WindowSampler:
    """Everything that the windows of one video share.

    Attributes:
        model, vae, negative, steps, cfg, shift, sampler_name, scheduler, model_low, boundary, cfg_low: as for ``sample``.
        noise: grammar text; read from the outer frame of an end to the one next to the new frames, fitted to any number.
        windows: how many windows the video has, for the progress bar.
        warn: told what may be meant but is unusual.
    """

    model: Any
    vae: Any
    negative: list
    noise: str
    steps: int
    cfg: float
    shift: float
    sampler_name: str
    scheduler: str
    model_low: Any = None
    boundary: float = 0.875
    cfg_low: float | None = None
    windows: int = 1
    warn: Callable[[str], None] = logging.warning

    @property
    def factor(self) -> int:
        """Pixel frames of a latent frame."""
        return vae_factor(self.vae)

    @property
    def grid(self) -> int:
        """Pixels that a side is padded to a multiple of."""
        return of_model(self.model).grid

    @property
    def rate(self) -> Fraction:
        """Frames per second that the model was trained at."""
        return of_model(self.model).rate

    def draw(self, positive: list, seed: int, length: int, before: Tensor | None, after: Tensor | None, number: int = 0) -> Tensor:
        """Sample and decode a window.

        The given frames are encoded from pixels, each end as a clip of its own: the causal VAE makes the first latent of a
        clip from one frame and every other from four, so the latents at the end of a window are not those of the same
        frames at the beginning of the next (``python dev.py bench extend`` measures what handing latents over would cost).

        Args:
            positive: CONDITIONING of this window.
            length: frames of the window, n k + 1 with n the factor of the VAE.
            before, after: given frames [n a + 1, H, W, 3] at its start and end; at least one. Of those at the end the
                first only prepares the VAE; it is drawn anew.
            number: of this window among all, from 0.

        Returns:
            Frames [length, H, W, 3] in [0, 1], the given ones as the model drew them again.

        Raises:
            InputError: frames or settings that cannot be used.
        """
        given = before if before is not None else after
        height, width = given.shape[1:3]
        rows, columns = (-(-side // self.grid) * 2 for side in (height, width))
        latent = torch.zeros(1, self.vae.latent_channels, latent_length(length, self.factor), rows, columns)
        target_size(self.vae, latent)
        key = window_key(positive=positive, seed=seed, length=length, before=before, after=after, **self._inputs())
        samples = load_window(key)
        if samples is None:
            samples = self._sample(positive, seed, latent, before, after, number)
            store_window(key, samples)
        return rearrange(self._decode(samples), "... h w c -> (...) h w c")[:, :height, :width].float().cpu()

    def _decode(self, samples: Tensor) -> Tensor:
        """Frames [.., F, H, W, 3]; tile by tile in time too where the VAE says that a whole clip takes more than the device has."""
        tiles = of_model(self.model).tiles
        needed = self.vae.memory_used_decode(samples.shape, self.vae.vae_dtype)
        if tiles is None or needed < comfy.model_management.get_total_memory(self.vae.device):
            return self.vae.decode(samples)
        side, overlap, frames, shared = tiles
        ratio = self.vae.spacial_compression_decode()
        sides = {"tile_x": side // ratio, "tile_y": side // ratio, "overlap": overlap // ratio}
        return self.vae.decode_tiled(samples, **sides, tile_t=frames // self.factor, overlap_t=shared // self.factor)

    def _inputs(self) -> dict[str, Any]:
        """What a window depends on, by name."""
        inputs = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("windows", "warn")}
        return inputs | {"functions": sampler_functions(self.sampler_name, self.scheduler)}

    def _sample(self, positive, seed, latent, before, after, number) -> Tensor:
        condition, length = Condition.empty(latent), latent.shape[2]
        if before is not None:
            frames = encode_clip(self.vae, padded(before, self.grid))
            condition = condition.add(frames, range(frames.shape[2]), fit_noise(self.noise, frames.shape[2]))
        if after is not None:
            frames = encode_tail(self.vae, padded(after, self.grid))
            places = range(length - frames.shape[2], length)
            condition = condition.add(frames, places, fit_noise(self.noise, frames.shape[2])[::-1])
        return sample(
            self.model,
            positive,
            self.negative,
            {"samples": latent},
            seed=seed,
            steps=self.steps,
            cfg=self.cfg,
            shift=self.shift,
            sampler_name=self.sampler_name,
            scheduler=self.scheduler,
            denoise=1.0,
            condition=condition,
            model_low=self.model_low,
            boundary=self.boundary,
            cfg_low=self.cfg_low,
            warn=self.warn,
            progress=(number * self.steps, self.windows * self.steps),
        )["samples"]


def padded(frames: Tensor, grid: int) -> Tensor:
    """Frames [n, H, W, 3] with their last row and column repeated up to sides that are multiples of ``grid``."""
    height, width = frames.shape[1:3]
    if not (height % grid or width % grid):
        return frames
    sides = (0, -width % grid, 0, -height % grid)
    pictures = torch.nn.functional.pad(rearrange(frames, "n h w c -> n c h w"), sides, mode="replicate")
    return rearrange(pictures, "n c h w -> n h w c")


def once(warn: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, which says everything one time only."""
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            warn(text)

    return say
