"""What ComfyUI's patcher leaves in a weight, computed a few rows at a time, so that no weight needs to be in memory as a whole.

The arithmetic is that of ``ModelPatcher.patch_weight_to_device`` on a CPU: ``comfy.lora.calculate_weight`` in float32, then one
rounding to the dtype of the weight. The rounding to fp8 is stochastic, with the name of the weight as the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comfy.float
import comfy.lora
import comfy.utils
import torch
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
# Elements at a time, at least. In float32 that is 32 MB, from where on glibc takes every block back the moment it is freed. Smaller
# ones it keeps, in a heap that was seen to grow by 400 MB.
SLICE = 8 * 2**20
_PIECE = 2**20  # elements rounded to fp8 at a time

Patches = list[tuple[float, Any, float, None, None]]
ReadRows = Callable[[int, int], Tensor]


def rounded_rows(read: ReadRows, shape: tuple[int, ...], dtype: torch.dtype, patches: Patches, key: str) -> Iterator[Tensor]:
    """A patched weight in its own dtype, in slices of rows from the first to the last.

    Args:
        read: rows [first, last) of the weight as a new float32 tensor.
        shape: of the weight, at least one dimension.
        dtype: of the result.
        patches: as a ModelPatcher holds them for this weight.
        key: the weight's name in the MODEL, ``diffusion_model. ...``.
    """
    generator = _generator(key)
    for first, last in row_slices(shape, patches):
        rows = _patched(read, first, last, patches, key)
        yield _round_to_fp8(rows, dtype, generator) if dtype in FP8 else rows.to(dtype)


def new_scale(read: ReadRows, shape: tuple[int, ...], dtype: torch.dtype, patches: Patches, key: str) -> Tensor:
    """The scale, float32 [], that the patcher gives a patched fp8 weight: its largest value becomes fp8's largest."""
    ends = [torch.aminmax(_patched(read, first, last, patches, key)) for first, last in row_slices(shape, patches)]
    return torch.stack([end for pair in ends for end in pair]).abs().amax() / torch.finfo(dtype).max


def scaled_rows(
    read: ReadRows, shape: tuple[int, ...], dtype: torch.dtype, patches: Patches, key: str, scale: Tensor
) -> Iterator[Tensor]:
    """``rounded_rows`` of a scaled fp8 weight: divided by ``new_scale`` first.

    The patched rows are computed again instead of kept, since in float32 they take four times the space of the weight.
    """
    generator = _generator(key)
    for first, last in row_slices(shape, patches):
        rows = _patched(read, first, last, patches, key)
        rows *= 1.0 / scale
        yield _round_to_fp8(rows, dtype, generator)


def row_slices(shape: tuple[int, ...], patches: Patches) -> list[tuple[int, int]]:
    """Bounds [first, last) of slices of one to two times ``SLICE``; the whole weight where a patch mixes its rows (DoRA).

    They are of equal size: a remainder of a few rows would be multiplied by another routine, with other rounding.
    """
    count = max(1, min(shape[0], torch.Size(shape).numel() // SLICE)) if all(map(_by_rows, patches)) else 1
    bounds = [shape[0] * part // count for part in range(count + 1)]
    return list(zip(bounds[:-1], bounds[1:]))


def _patched(read: ReadRows, first: int, last: int, patches: Patches, key: str) -> Tensor:
    sliced = [_rows(patch, first, last) if _by_rows(patch) else patch for patch in patches]
    return comfy.lora.calculate_weight(sliced, read(first, last), key)


def _by_rows(patch: tuple) -> bool:
    """Whether a row of the result depends on the same row of the weight alone. The pack's LoRA loader lets no other kind in."""
    value = patch[1]
    return not isinstance(value, LoRAAdapter) or all(extra is None for extra in value.weights[3:])


def _rows(patch: tuple, first: int, last: int) -> tuple:
    strength, value, *rest = patch
    if isinstance(value, LoRAAdapter):
        up, *others = value.weights
        return strength, LoRAAdapter(value.loaded_keys, (up[first:last], *others)), *rest
    kind, (tensor,) = value if len(value) == 2 else ("diff", value)
    return strength, (kind, (tensor[first:last],)), *rest


def _generator(key: str) -> torch.Generator:
    """The source of the random bytes by which ``comfy.float.stochastic_rounding`` rounds a weight of this name to fp8."""
    return torch.Generator().manual_seed(comfy.utils.string_to_seed(key))


def _round_to_fp8(rows: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Round stochastically, in pieces, since it takes ten temporary copies.

    On a CPU a generator gives the same bytes in pieces as at once.
    """
    import comfy_kitchen  # a requirement of ComfyUI that it can do without, except for this

    rounded = torch.empty(rows.shape, dtype=dtype)
    for piece, values in zip(rounded.reshape(-1).split(_PIECE), rows.reshape(-1).split(_PIECE)):
        random = torch.randint(0, 256, values.shape, dtype=torch.uint8, generator=generator)
        piece.copy_(comfy_kitchen.stochastic_rounding_fp8(values, random, dtype))
    return rounded
