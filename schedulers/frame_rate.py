"""Frames of one rate as frames of another: which times they have, and what is between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from .errors import InputError

METHODS = ("keep", "nearest", "blend")


@dataclass(frozen=True)
class Resampling:
    """How the frames of a clip stand to those of the model, counted in steps from the frame where both meet (step 0).

    Attributes:
        rate: frames per second of the clip, above 0.
        method: ``keep`` takes a frame of the clip for a frame of the model, whatever the rate; ``nearest`` takes the frame
            that is nearest in time; ``blend`` mixes the two frames around a time in proportion.
        model_rate: frames per second that the model was trained at; Wan's.

    Raises:
        InputError: an unknown method, or a rate that is not a number above 0.
    """

    rate: Fraction
    method: str = "keep"
    model_rate: Fraction = Fraction(16)

    def __post_init__(self):
        if self.method not in METHODS:
            raise InputError(f"`resample` is `{self.method}`; use {', '.join(METHODS)}.")
        if not 0 < self.rate < math.inf:
            raise InputError(f"the frame rate is {float(self.rate):g}; it must be a number above 0.")

    @property
    def ratio(self) -> Fraction:
        """Steps of the clip in one step of the model: 3/2 for a clip of 24 frames per second."""
        return Fraction(1) if self.method == "keep" else self.rate / self.model_rate

    def clip_steps(self, model_steps: int) -> int:
        """Steps of the clip that lie within the first ``model_steps`` steps of the model."""
        return int(model_steps * self.ratio)

    def steps_needed(self, model_steps: int) -> int:
        """Steps of the clip that are needed to know its frame at ``model_steps`` steps of the model."""
        exact = model_steps * self.ratio
        return round(exact) if self.method == "nearest" else -int(-exact // 1)

    def to_model(self, frames: Tensor, count: int) -> Tensor:
        """Frames of the model at its steps 0 to ``count - 1``, from frames of the clip [N, H, W, C] from step 0 on."""
        return self._at(frames, [step * self.ratio for step in range(count)])

    def to_clip(self, frames: Tensor, first: int, last: int) -> Tensor:
        """Frames of the clip in the steps (``first``, ``last``] of the model, from frames of the model.

        Args:
            frames: the model's frames at its steps ``first`` to ``last``, both included.

        Returns:
            ``clip_steps(last) - clip_steps(first)`` frames.
        """
        steps = range(self.clip_steps(first) + 1, self.clip_steps(last) + 1)
        return self._at(frames, [step / self.ratio - first for step in steps])

    def clip_span(self, model_steps: int) -> int:
        """Steps of the clip, to the nearest, in so many steps of the model: 1 or more."""
        return max(1, round(model_steps * self.ratio))

    def between(self, frames: Tensor) -> Tensor:
        """Frames of the clip strictly between two of its own frames.

        Where the span is no whole number of steps of the clip its time is stretched to one, by half a step at most.

        Args:
            frames: the model's frames from the one to the other, both included.

        Returns:
            ``clip_span(len(frames) - 1) - 1`` frames.
        """
        steps = len(frames) - 1
        span = self.clip_span(steps)
        return self._at(frames, [Fraction(step * steps, span) for step in range(1, span)])

    def _at(self, frames: Tensor, places: list[Fraction]) -> Tensor:
        """Frames at places between 0 and ``len(frames) - 1``."""
        if self.method != "blend":
            return frames[[round(place) for place in places]]
        lower = [int(place) for place in places]
        upper = [min(place + 1, len(frames) - 1) for place in lower]
        weights = torch.tensor([float(place - low) for place, low in zip(places, lower)], dtype=frames.dtype)
        return torch.lerp(frames[lower], frames[upper], weights[:, None, None, None])
