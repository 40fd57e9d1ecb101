"""The PUSA_CONDITION value: latents at latent frames of one target, with one noise multiplier each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..schedulers import InputError, LevelTable, Recipe, multiplier_vector, pixel_frames, pixel_length
from ..schedulers.finite import all_finite
from ..schedulers.geometry import FACTOR
from .families.lookup import of_channels, whose_latent
from .paths.renoise import Renoised


def describe_target(shape: tuple[int, int, int, int]) -> str:
    """The target in words: ``21 latent frames (81 pixel frames) of 104 x 60 latent pixels with 16 channels``."""
    channels, length, height, width = shape
    frames = f"{length} latent frames ({pixel_length(length, factor_of(channels))} pixel frames)"
    return f"{frames} of {width} x {height} latent pixels with {channels} channels"


def factor_of(channels: int) -> int:
    """Pixel frames of a latent frame of so many channels; Wan's where no family has so many."""
    family = of_channels(channels)
    return FACTOR if family is None else family.factor


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare by
class Condition:
    """Condition frames of one target clip. Frozen: it grows by copying, because ComfyUI caches every value.

    Attributes:
        target: (C, T, h, w) of the latent that the condition is made for.
        positions: latent frames that carry a condition, each in 0..T-1, in the order they were added.
        multipliers: m in [0, 1], one per position; 0 is a clean frame, 1 leaves the frame free.
        frames: latents [B or 1, C, len(positions), h, w] in the scale of a ComfyUI LATENT, in the order of positions.
        renoise: one per position: in how many rows of the schedule the frame is shown with fresh noise of level m and stays clean;
            0 where it is noised once and denoised with the clip.
        recipe: of the levels of all frames over the steps; None is ``m_i sigma_k``.
    """

    target: tuple[int, int, int, int]
    positions: tuple[int, ...]
    multipliers: tuple[float, ...]
    frames: Tensor
    renoise: tuple[int, ...] = ()
    recipe: Recipe | None = None

    @classmethod
    def empty(cls, latent: Tensor) -> Condition:
        """A condition without frames for a target latent [B, C, T, h, w].

        Raises:
            InputError: the latent is not that of a video, is that of another family, or is empty.
        """
        family = None if latent.ndim == 5 and of_channels(latent.shape[1]) else whose_latent(latent)
        if latent.ndim != 5 or family is not None or not latent.numel():
            whose = f", as those of {family} have" if family else ""
            raise InputError(
                f"`latent` has the shape {tuple(latent.shape)}{whose}; a video latent has five axes (batch, channels, latent "
                "frames, height, width), 16 channels for Wan, as EmptyHunyuanLatentVideo makes it."
            )
        target = tuple(latent.shape[1:])
        return cls(target, (), (), latent.new_zeros((1, target[0], 0, *target[2:])))

    def check_places(self, positions: Sequence[int], multipliers: Sequence[float]) -> None:
        """Refuse places that cannot be added, before anything is encoded for them.

        Raises:
            InputError: lists of unequal length, a position that is taken or outside the clip, a multiplier outside [0, 1].
        """
        if len(multipliers) != len(positions):
            raise InputError(f"{len(positions)} condition frames come with {len(multipliers)} noise multipliers.")
        self._check_open()
        taken = list(self.positions)
        for position, multiplier in zip(positions, multipliers):
            if not 0 <= position < self.target[1]:
                raise InputError(f"latent frame {position} is outside the target, which has 0 to {self.target[1] - 1}.")
            if not 0 <= multiplier <= 1:
                raise InputError(f"the noise multiplier {multiplier} of latent frame {position} is outside 0 to 1.")
            if position in taken:
                held = pixel_frames(position, self.factor)
                raise InputError(
                    f"latent frame {position} (pixel frames {held[0]} to {held[-1]}) is given twice. Every latent frame "
                    "takes one condition; move one of them or leave it out."
                )
            taken.append(position)

    def add(self, frames: Tensor, positions: Sequence[int], multipliers: Sequence[float], renoise: int = 0) -> Condition:
        """A copy with more frames: latents [B or 1, C, n, h, w] at n latent positions with n multipliers.

        Args:
            renoise: rows in which they are shown with fresh noise, of those with m < 1; 0 for none.

        Raises:
            InputError: places that ``check_places`` refuses, frames of another size or number than the target and the
                positions ask for, or values that are not finite.
        """
        self.check_places(positions, multipliers)
        channels, _, height, width = self.target
        expected = (channels, len(positions), height, width)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
            family = self._stranger(frames)
            whose = f" (as those of {family} have)" if family else ""
            raise InputError(
                f"the condition frames have the shape {tuple(frames.shape)}{whose}, but [batch, {', '.join(map(str, expected))}] "
                f"(channels, frames, height, width) is needed: {len(positions)} positions on {describe_target(self.target)}"
                f"{self._whose(frames)}."
            )
        if not all_finite(frames):
            raise InputError("the condition frames hold values that are not finite (NaN or infinity).")
        batch = max(self.frames.shape[0], frames.shape[0])
        return Condition(
            self.target,
            (*self.positions, *positions),
            (*self.multipliers, *map(float, multipliers)),
            torch.cat([_batched(self.frames, batch), _batched(frames.to(self.frames), batch)], dim=2),
            (*self.renoise, *(renoise if multiplier < 1 else 0 for multiplier in multipliers)),
        )

    def vector(self) -> Tensor:
        """Noise multipliers m of the whole clip, shape [T]; 1 where no condition lies, 0 for frames that are noised anew."""
        held = [0.0 if rows else m for m, rows in zip(self.multipliers, self.renoise)]
        return multiplier_vector(self.target[1], self.positions, held)

    @property
    def renoised(self) -> Renoised | None:
        """The frames that are shown with fresh noise; None where there are none."""
        found = [each for each in zip(self.positions, self.multipliers, self.renoise) if each[2]]
        return Renoised(*map(tuple, zip(*found))) if found else None

    def with_recipe(self, recipe: Recipe) -> Condition:
        """A copy with a schedule.

        Raises:
            InputError: it has one, or the schedule does not fit the clip.
        """
        self._check_open()
        recipe.table(self.vector())
        return replace(self, recipe=recipe)

    def table(self, grid: Tensor | None = None) -> LevelTable | None:
        """Levels of all frames over the steps; None for ``m_i`` times the grid of the sampler.

        Args:
            grid: of a sampler that has one of its own, [K + 1]; None takes that of the schedule.
        """
        if self.recipe is None:
            return None
        return None if self.recipe.kind == "scaled" else self.recipe.table(self.vector(), grid)

    def clock(self, grid: Tensor | None = None) -> Tensor | None:
        """Levels [R + 1] that a sampler is driven with; None where there is no schedule."""
        return None if self.recipe is None else self.recipe.table(self.vector(), grid).clock

    def check_target(self, latent: Tensor) -> None:
        """Refuse a latent [B, C, T, h, w] that the condition was not made for.

        Raises:
            InputError: another size, length or batch.
        """
        if latent.ndim != 5 or tuple(latent.shape[1:]) != self.target:
            found = describe_target(tuple(latent.shape[1:])) if latent.ndim == 5 else f"the shape {tuple(latent.shape)}"
            family = self._stranger(latent)
            found += f", as those of {family} have" if family else ""
            raise InputError(
                f"the condition was made for {describe_target(self.target)}{self._whose(latent)}, the latent has {found}. Connect "
                "the same latent to the condition nodes and to the sampler."
            )
        if self.frames.shape[0] not in (1, latent.shape[0]):
            raise InputError(
                f"the condition holds a batch of {self.frames.shape[0]}, the latent one of {latent.shape[0]}; "
                "use the same batch or a single condition."
            )

    def _check_open(self) -> None:
        if self.recipe is not None:
            raise InputError(
                "the condition has a schedule already, which counts its frames. Put Schedule (Pusa) behind all condition nodes."
            )

    def _stranger(self, other: Tensor) -> str | None:
        """The family of a latent that is not of the target's, in words."""
        family, own = whose_latent(other), of_channels(self.target[0])
        return None if own is not None and family == own.name else family

    def _whose(self, other: Tensor) -> str:
        """The family of the target in words, where a latent beside it is of another one."""
        own = of_channels(self.target[0])
        return f", those of {own.name}" if own is not None and self._stranger(other) else ""

    @property
    def factor(self) -> int:
        """Pixel frames of a latent frame of the target."""
        return factor_of(self.target[0])

    @property
    def conditioned(self) -> bool:
        """Whether any frame is held below the level of the free frames (m < 1)."""
        return bool((self.vector() < 1).any())

    def place(self, latent: Tensor, scale: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """A copy of a latent [B, C, T, h, w] with every frame of m < 1 written at its position; m = 1 is a free frame.

        Args:
            scale: what is made of the frames on the way, where the network sees them otherwise than a LATENT holds them.
        """
        multipliers = self.vector()
        held = [index for index, position in enumerate(self.positions) if multipliers[position] < 1]
        placed = latent.clone()
        frames = self.frames[:, :, held].to(placed)
        placed[:, :, [self.positions[index] for index in held]] = frames if scale is None else scale(frames)
        return placed


def _batched(frames: Tensor, batch: int) -> Tensor:
    if frames.shape[0] not in (1, batch):
        raise InputError(f"condition frames come in batches of {frames.shape[0]} and {batch}; use one batch size, or 1.")
    return frames.expand(batch, *frames.shape[1:])
