"""Timesteps for tokens that lie beside those of the clip: reference pictures, streams of poses.

A network repeats its T modulations over all its tokens, so with tokens that have no number of their own those of the clip would get
another frame's. Every frame of them gets a number at the global level, where the network puts its tokens. Where a frame of them has
fewer tokens than one of the clip, a number stands for a group of g tokens, g the greatest common divisor of both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import repeat
from torch import Tensor

from ...schedulers import InputError
from .networks import Stream

MOST = 64  # numbers for one frame of the clip; at usual sizes there are 1, or 4 beside a stream of half the size


def with_references(
    levels: Tensor, outside: Tensor, tokens: int, before: Sequence[Stream], behind: Sequence[Stream]
) -> tuple[Tensor, int]:
    """Timesteps of all tokens of a call.

    Args:
        levels: timesteps [B, T] of the frames of the clip.
        outside: timesteps [B, 1] of what is not of the clip.
        tokens: of a frame of the clip.
        before, behind: frames of the streams on both sides, and tokens of each frame.

    Returns:
        Timesteps [B, R], and the tokens that each stands for.

    Raises:
        InputError: a frame of a stream and one of the clip have no group of tokens in common that is worth one.
    """
    group = math.gcd(tokens, *(size for _, size in (*before, *behind)))
    if tokens > MOST * group:
        sizes = sorted({size for _, size in (*before, *behind)} - {tokens})
        raise InputError(
            f"a frame of the clip has {tokens} tokens, a reference beside it {', '.join(map(str, sizes))}: they cannot be told "
            "apart in groups. Give the reference the size of the clip, or half of it."
        )
    ends = [outside.expand(-1, sum(frames * size for frames, size in side) // group) for side in (before, behind)]
    return torch.cat([ends[0], repeat(levels, "b t -> b (t g)", g=tokens // group), ends[1]], dim=1), group
