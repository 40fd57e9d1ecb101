"""What ComfyUI's patcher leaves in a weight, computed a few rows at a time, so that no model needs to be in memory as a whole.

The arithmetic is that of ``ModelPatcher.patch_weight_to_device`` on a CPU: ``comfy.lora.calculate_weight`` in float32, then one
rounding to the dtype of the weight. The rounding to fp8 is stochastic, with the name of the weight as the seed. On a GPU the
products alone may differ, in their last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import comfy.lora
import torch
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor

from ....schedulers import InputError
from .rounding import BLOCK, FP8, RandomBytes, round_to_fp8

SLICE = 4 * 2**20  # elements computed at a time, at least
KEPT = 72 * 2**20  # elements of a patched weight that is kept in float32; the largest of Wan 14B has 67.5 * 2**20

Patch = tuple[float, Any, float, None, None]
ReadRows = Callable[[int, int, Tensor], None]


@dataclass(frozen=True)
class Weight:
    """A weight to be patched.

    Attributes:
        key: its name in the MODEL, ``diffusion_model. ...``.
        shape: at least one dimension.
        dtype: of the file and of the result.
        read: writes rows [first, last) into float32 memory of their shape, on any device.
        patches: as a ModelPatcher holds them for this weight.
    """

    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: ReadRows
    patches: Sequence[Patch]

    @property
    def slices(self) -> list[tuple[int, int]]:
        """Bounds [first, last) of slices of one to two times ``SLICE``; the whole weight where a patch mixes its rows (DoRA).

        They are of equal size: a remainder of a few rows would be multiplied by another routine, with other rounding.
        """
        rows, by_rows = self.shape[0], all(map(_by_rows, self.patches))
        count = max(1, min(rows, math.prod(self.shape) // SLICE)) if by_rows else 1
        bounds = [rows * part // count for part in range(count + 1)]
        return list(zip(bounds[:-1], bounds[1:]))


class Patcher:
    """Patches one weight after another on a device, in the same memory: new pages would cost more than the arithmetic."""

    def __init__(self, device: torch.device, worker: Executor):
        """``worker`` has a single thread; random bytes are drawn there."""
        self.device = device
        self.random = RandomBytes(worker)
        self.memory: dict[str, Tensor] = {}

    def rounded(self, weight: Weight) -> Iterator[Tensor]:
        """A patched weight in its own dtype (fp8 as uint8), in blocks on the CPU, flat, from the first to the last.

        A block is valid until the next one is asked for.

        Raises:
            InputError: it holds a number that is not finite.
        """
        random = self._random(weight)
        for first, last in weight.slices:
            rows, ends = self._patched(weight, first, last, self._empty("rows", (last - first, *weight.shape[1:])))
            _check_finite(weight, ends if weight.dtype in FP8 else ends.to(weight.dtype))
            yield from self._blocks(weight, rows, random)

    def scaled(self, weight: Weight) -> tuple[Tensor, Iterator[Tensor]]:
        """The new scale of a patched fp8 weight, float32 [], and what ``rounded`` gives of the weight divided by it.

        The patcher makes the largest number fp8's largest. A weight of up to ``KEPT`` elements is computed once; a larger one is
        computed again for the second pass over it.

        Raises:
            InputError: it holds a number that is not finite.
        """
        random, slices = self._random(weight), weight.slices
        keep = math.prod(weight.shape) <= KEPT
        memory = self._empty("rows", weight.shape if keep else (_longest(slices), *weight.shape[1:]))

        def patched(first: int, last: int) -> tuple[Tensor, Tensor]:
            return self._patched(weight, first, last, memory[first:last] if keep else memory[: last - first])

        ends = torch.stack([patched(*bounds)[1] for bounds in slices])
        _check_finite(weight, ends)
        scale = ends.abs().amax() / torch.finfo(weight.dtype).max
        if not math.isfinite(1.0 / scale):
            scale = torch.ones(())  # nothing but zeros, which the patcher would make NaN

        def blocks() -> Iterator[Tensor]:
            for first, last in slices:
                rows = memory[first:last] if keep else patched(first, last)[0]
                yield from self._blocks(weight, rows.mul_((1.0 / scale).to(self.device)), random)

        return scale, blocks()

    def _patched(self, weight: Weight, first: int, last: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [first, last) in float32 in the memory given, and on the CPU their least and largest, [2]."""
        weight.read(first, last, rows)
        for patch in weight.patches:
            strength, value, *rest = patch
            if _is_pair(value):
                self._add(rows, strength, value, first, last)
            else:
                sliced = (strength, _rows(value, first, last), *rest) if _by_rows(patch) else patch
                rows.copy_(comfy.lora.calculate_weight([sliced], rows, weight.key))
        return rows, torch.stack(torch.aminmax(rows)).cpu()

    def _add(self, rows: Tensor, strength: float, value: LoRAAdapter, first: int, last: int) -> None:
        """What ``LoRAAdapter.calculate_weight`` adds, without its temporary copies."""
        up, down, alpha = value.weights[:3]
        factors = [
            self._empty(name, (len(factor), factor[0].numel())).copy_(factor.flatten(start_dim=1))
            for name, factor in (("up", up[first:last]), ("down", down))
        ]
        change = torch.mm(*factors, out=self._empty("change", (last - first, rows[0].numel())))
        rows.view_as(change).add_(change.mul_(strength * (1.0 if alpha is None else alpha / len(down))))

    def _blocks(self, weight: Weight, rows: Tensor, random: Iterator[Tensor]) -> Iterator[Tensor]:
        for block in rows.view(-1).split(BLOCK):
            yield round_to_fp8(block, next(random), weight.dtype) if weight.dtype in FP8 else block.to("cpu", weight.dtype)

    def _random(self, weight: Weight) -> Iterator[Tensor]:
        if weight.dtype not in FP8:
            return iter(())
        row = math.prod(weight.shape[1:])
        sizes = [min(BLOCK, last * row - start) for first, last in weight.slices for start in range(first * row, last * row, BLOCK)]
        return self.random.of(weight.key, sizes)

    def _empty(self, name: str, shape: Sequence[int]) -> Tensor:
        """Memory in float32 that nothing else of this name uses any more."""
        size = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < size:
            self.memory.pop(name, None)  # before there is the larger one
            self.memory[name] = torch.empty(size, device=self.device)
        return self.memory[name][:size].view(tuple(shape))


def _check_finite(weight: Weight, ends: Tensor) -> None:
    if not ends.isfinite().all():
        raise InputError(
            f"`base_name`: {weight.key} holds values that are not finite numbers (NaN or infinity), or that the LoRA makes too "
            "large for the format. Download the file again if it is damaged, or lower the strength."
        )


def _longest(slices: Sequence[tuple[int, int]]) -> int:
    return max(last - first for first, last in slices)


def _is_pair(value: Any) -> bool:
    """Whether a patch adds a product of two matrices and does nothing else."""
    return isinstance(value, LoRAAdapter) and all(extra is None for extra in value.weights[3:])


def _by_rows(patch: Patch) -> bool:
    """Whether a row of the result depends on the same row of the weight alone. The pack's LoRA loader lets no other kind in."""
    return not isinstance(patch[1], LoRAAdapter) or _is_pair(patch[1])


def _rows(value: tuple, first: int, last: int) -> tuple:
    """A patch that adds a tensor as it is, less all rows but some."""
    kind, (tensor,) = value if len(value) == 2 else ("diff", value)
    return kind, (tensor[first:last],)
