"""Colours of new frames brought to those of the frames that they go on from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 1e-3  # spread of a channel below which its contrast is left alone


@dataclass(frozen=True)
class ColorMap:
    """Per channel, ``value * scale + shift``; both [3]."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def between(cls, drawn: Tensor, given: Tensor, strength: float) -> ColorMap:
        """The map that gives frames the mean and standard deviation of others, in part.

        Args:
            drawn: frames as the model drew them, [n, H, W, 3].
            given: the same frames as they were given.
            strength: 0 leaves colours alone, 1 matches them.

        Source: mean and deviation per channel as in Reinhard et al., "Color Transfer between Images" (2001), in RGB and over
        the overlap only, where both show the same things.
        """
        drawn, given = drawn.double().flatten(0, 2), given.double().flatten(0, 2)
        spread, wanted = drawn.std(0, correction=0), given.std(0, correction=0)
        scale = torch.where(spread > FLAT, wanted / spread.clamp(min=FLAT), 1.0)
        shift = given.mean(0) - scale * drawn.mean(0)
        return cls((1 + strength * (scale - 1)).float(), (strength * shift).float())

    def towards(self, other: ColorMap, weight: Tensor) -> ColorMap:
        """A map per frame between this one and another: weights [n] in [0, 1] give scales and shifts [n, 1, 1, 3]."""
        weight = weight[:, None, None, None]
        return ColorMap(torch.lerp(self.scale, other.scale, weight), torch.lerp(self.shift, other.shift, weight))

    def apply(self, frames: Tensor) -> Tensor:
        """Frames [n, H, W, 3] with these colours, in [0, 1]."""
        return (frames * self.scale + self.shift).clamp(0, 1)


def cross_fade(first: Tensor, second: Tensor) -> Tensor:
    """From one clip [n, H, W, 3] into another of the same length, in even steps that leave out both ends."""
    weight = torch.arange(1, len(first) + 1, dtype=first.dtype) / (len(first) + 1)
    return torch.lerp(first, second, weight[:, None, None, None])
