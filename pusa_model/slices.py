"""Which frames the tokens of a block lie in, where another pack has given it a slice of them.

Under sequence parallelism (raylight, xfuser) rank r of P holds n = N / P of the N = T hw tokens, but the modulations [B, T, 6, C]
of all. With g = gcd(hw, n) its runs of g tokens lie in the frames ``(r n + k g) // hw``, k = 0 .. n/g - 1: at usual sizes T rows
again, nothing per token. A slice whose rank cannot be asked for is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from ..schedulers import InputError

FRAMES = "pusa_frames"  # in the options of a call: latent frames that the network was given a timestep for
GRID = "grid_sizes"  # where ComfyUI's Wan puts (T, h, w) of the call, in tokens


def own_rows(vector: Tensor, tokens: int, options: dict[str, Any]) -> Tensor | None:
    """Rows of the modulations [B, T, 6, C] for a block's tokens, one for each run of them; None if it has all tokens of the clip.

    Raises:
        InputError: something between the sampler and the block has changed the timesteps, or the tokens are not those of the clip.
    """
    expected, grid = options.get(FRAMES), options.get(GRID)
    if expected is not None and (vector.ndim != 4 or vector.shape[1] != expected):
        found = vector.shape[1] if vector.ndim == 4 else 1
        raise InputError(
            f"the network was given a timestep for each of {expected} latent frames, its blocks get {found}: another node has "
            "changed them on the way. Remove the node that patches the model."
        )
    if grid is None or tokens == math.prod(grid):
        return None
    if tokens > math.prod(grid):
        raise InputError(
            f"the network was given {tokens - math.prod(grid)} tokens beside those of the clip (a reference picture), which have "
            "no frame. Remove the reference, or sample without a condition."
        )
    return torch.tensor(frames_of_slice(grid, tokens, rank_of_slice(math.prod(grid), tokens)), device=vector.device)


def frames_of_slice(grid: Sequence[int], tokens: int, rank: int) -> list[int]:
    """The frame of each run of tokens in a slice.

    Args:
        grid: (T, h, w) of the whole clip, in tokens.
        tokens: n, of the slice; those of the last one may run over the end of the clip.
    """
    frames, per_frame = grid[0], math.prod(grid[1:])
    run = math.gcd(per_frame, tokens)
    return [min((rank * tokens + start) // per_frame, frames - 1) for start in range(0, tokens, run)]


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
