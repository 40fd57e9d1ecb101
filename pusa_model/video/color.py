"""Colours of new frames brought to those of the frames that they go on from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

CELL = 4  # pixels of a square that are looked at together, against noise and small shifts of things
TRUSTED = 0.75  # share of the squares that counts: those whose difference is nearest to the usual one
FLAT = (2 / 255) ** 2  # variance below which a channel says little about contrast


@dataclass(frozen=True)
class ColorMap:
    """Per channel, ``value * scale + shift``; both [3]."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def between(cls, drawn: Tensor, given: Tensor, strength: float) -> ColorMap:
        """The map that takes what the model made of some frames back to the frames, in part.

        A straight line is fitted to each channel over the squares that show the same thing in both; where things were drawn
        elsewhere, the difference is far from the usual one and the square is left out. Matching mean and deviation of all
        pixels instead (Reinhard et al., "Color Transfer between Images", 2001) takes those for a change of contrast, and over
        ten hops that adds up to more than it corrects.

        Args:
            drawn: frames as the model drew them, [n, H, W, 3].
            given: the same frames as they were given.
            strength: 0 leaves colours alone, 1 matches them.
        """
        drawn, given = _squares(drawn), _squares(given)
        difference = given - drawn
        unusual = (difference - difference.median(0).values).abs().amax(1)
        same = unusual <= unusual.kthvalue(max(1, round(TRUSTED * len(unusual)))).values
        drawn, given = drawn[same], given[same]
        spread = drawn - drawn.mean(0)
        scale = ((spread * (given - given.mean(0))).mean(0) + FLAT) / (spread.square().mean(0) + FLAT)
        shift = given.mean(0) - scale * drawn.mean(0)
        return cls((1 + strength * (scale - 1)).float(), (strength * shift).float())

    def towards(self, other: ColorMap, weight: Tensor) -> ColorMap:
        """A map per frame between this one and another: weights [n] in [0, 1] give scales and shifts [n, 1, 1, 3]."""
        weight = weight[:, None, None, None]
        return ColorMap(torch.lerp(self.scale, other.scale, weight), torch.lerp(self.shift, other.shift, weight))

    def apply(self, frames: Tensor) -> Tensor:
        """Frames [n, H, W, 3] with these colours, in [0, 1]."""
        return (frames * self.scale + self.shift).clamp(0, 1)


def _squares(frames: Tensor) -> Tensor:
    """Mean colours [N, 3] of the squares of frames [n, H, W, 3]."""
    pictures = rearrange(frames.double(), "n h w c -> n c h w")
    means = torch.nn.functional.avg_pool2d(pictures, CELL, ceil_mode=True, count_include_pad=False)
    return rearrange(means, "n c h w -> (n h w) c")


def cross_fade(first: Tensor, second: Tensor) -> Tensor:
    """From one clip [n, H, W, 3] into another of the same length, in even steps that leave out both ends."""
    weight = torch.arange(1, len(first) + 1, dtype=first.dtype) / (len(first) + 1)
    return torch.lerp(first, second, weight[:, None, None, None])
