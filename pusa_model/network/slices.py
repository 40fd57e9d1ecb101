"""Which frames the tokens of a block lie in, where another pack has given it a slice of them.

Under sequence parallelism (raylight, xfuser) rank r of P holds n = N / P of the N = T hw tokens, but the modulations [B, T, 6, C]
of all. With g = gcd(hw, n) its runs of g tokens lie in the frames ``(r n + k g) // hw``, k = 0 .. n/g - 1: at usual sizes T rows
again, nothing per token. A slice whose rank cannot be asked for is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from ...schedulers import InputError

ROWS = "pusa_rows"  # in the options of a call: timesteps that the network was given; None where it adds some of its own
GROUP = "pusa_group"  # tokens that each of them stands for: those of a frame, or a part of them beside references of another size
GRID = "grid_sizes"  # where ComfyUI's Wan puts (T, h, w) of the call, in tokens


def own_rows(vector: Tensor, tokens: int, options: dict[str, Any]) -> Tensor | None:
    """Rows of the modulations [B, R, 6, C] for a block's tokens, one for each run of them; None if it has all tokens of the call.

    Raises:
        InputError: something between the sampler and the block has changed the timesteps, or the tokens are not those of the call.
    """
    expected, grid = options.get(ROWS), options.get(GRID)
    if expected is not None and (vector.ndim != 4 or vector.shape[1] != expected):
        found = vector.shape[1] if vector.ndim == 4 else 1
        raise InputError(
            f"the network was given {expected} timesteps for its latent frames, its blocks get {found}: another node has changed "
            "them on the way. Remove the node that patches the model."
        )
    group = options.get(GROUP) or grid and math.prod(grid[1:])
    if not group or tokens == vector.shape[1] * group:
        return None
    total = vector.shape[1] * group
    if ROWS in options and expected is None:
        raise InputError(
            f"the network has {tokens} tokens for {vector.shape[1]} timesteps of {group} each, so the pictures beside the clip do "
            "not divide evenly. Give them the size of the clip, a multiple of 128 pixels on both sides."
        )
    if tokens > total:
        raise InputError(
            f"the network was given {tokens - total} tokens beside those of the clip (a reference picture), which have no frame. "
            "Remove the reference, or sample without a condition."
        )
    return torch.tensor(rows_of_slice(vector.shape[1], group, tokens, rank_of_slice(total, tokens)), device=vector.device)


def rows_of_slice(rows: int, group: int, tokens: int, rank: int) -> list[int]:
    """The row of each run of tokens in a slice.

    Args:
        rows: of the modulations of all tokens.
        group: tokens of each.
        tokens: n, of the slice; those of the last one may run over the end of the clip.
    """
    run = math.gcd(group, tokens)
    return [min((rank * tokens + start) // group, rows - 1) for start in range(0, tokens, run)]


def rank_of_slice(total: int, tokens: int) -> int:
    """The place of this process among those that share ``total`` tokens in slices of ``tokens``.

    Raises:
        InputError: no process group says.
    """
    for rank, ranks in _groups():
        if -(-total // ranks) == tokens:
            return rank
    raise InputError(
        f"a block of the network was given {tokens} of {total} tokens (they are split over several GPUs), and nothing tells which. "
        "Sample on one GPU, or split the guidance with MultiGPU CFG Split."
    )


def _groups() -> Iterator[tuple[int, int]]:
    """(rank, size) of the groups of processes that may share one clip: xfuser's, which can be a part of all, and all."""
    xfuser = sys.modules.get("xfuser.core.distributed")
    if xfuser is not None and xfuser.model_parallel_is_initialized():
        yield xfuser.get_sequence_parallel_rank(), xfuser.get_sequence_parallel_world_size()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        yield torch.distributed.get_rank(), torch.distributed.get_world_size()
