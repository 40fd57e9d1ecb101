"""Stochastic rounding to fp8, bit for bit as ComfyUI does it on a CPU: one look-up instead of ten temporary copies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import cache

import comfy.utils
import torch
from torch import Tensor

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
BLOCK = 2**21  # elements whose random bytes are drawn at a time
_AHEAD = 3  # blocks
_PIECE = 2**15  # elements


@cache
def rounding_table(dtype: torch.dtype) -> Tensor:
    """What ComfyUI's rounding makes of every float16, int32 [65536] in the order of their bits as signed integers.

    The rounding begins with float16, of which there are few. Each becomes one of two neighbours in fp8, by a random byte. With the
    entry ``e`` of a number and the byte ``r``, the result is the last byte of ``(e + r >> 8) & (e + r >> 16)``: an addition that
    carries over for as many of the bytes as give the upper neighbour. The second factor leaves out what is never given: just below
    a power of two the lower neighbour is the next but one.
    """
    numbers = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    return torch.cat([_entries(some, dtype) for some in numbers.split(_PIECE)])


def _entries(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    import comfy_kitchen  # a requirement of ComfyUI that it can do without, except for this

    def rounded(random: Tensor) -> Tensor:
        return comfy_kitchen.stochastic_rounding_fp8(numbers, random.to(torch.uint8), dtype).view(torch.uint8).int()

    below = torch.zeros(len(numbers), dtype=torch.int32)
    low, high = rounded(below), rounded(below + 255)
    # Halving finds how many bytes give the lower neighbour.
    for step in (128, 64, 32, 16, 8, 4, 2, 1):
        below = torch.where(rounded(below + step - 1) == low, below + step, below)
    before = torch.where(low == high, low, high - 1)
    return (0xFF & ~(before & ~low)) << 16 | before << 8 | torch.where(low == high, 0, 256 - below)


def pieces(numbers: Tensor) -> Sequence[Tensor]:
    """Parts of a flat tensor to be worked on one after another: on a CPU few enough numbers for its caches.

    So few that PyTorch leaves them to one thread; where others wait for the processor, threads that meet take far longer.
    """
    return numbers.split(_PIECE) if numbers.device.type == "cpu" else (numbers,)


def round_to_fp8(values: Tensor, random: Tensor, dtype: torch.dtype) -> Tensor:
    """Round numbers to fp8.

    Args:
        values: float32 [n], none of them NaN, on any device.
        random: a byte for each of them, uint8 on the CPU.
        dtype: one of ``FP8``.

    Returns:
        The bytes of the fp8 numbers, uint8 [n] on the CPU.
    """
    table, rounded = rounding_table(dtype).to(values.device), torch.empty(random.shape, dtype=torch.uint8, device=values.device)
    for result, numbers, some in zip(pieces(rounded), pieces(values), pieces(random.to(values.device))):
        index = numbers.half().view(torch.int16).to(torch.int32).add_(2**15)
        entries = torch.index_select(table, 0, index).add_(some)
        result.copy_((entries >> 8).bitwise_and_(entries.bitwise_right_shift_(16)))
    return rounded.cpu()


class RandomBytes:
    """The random bytes of one weight after another, drawn ahead in another thread since a generator draws them one by one."""

    def __init__(self, worker: Executor):
        """``worker`` has a single thread."""
        self.worker = worker
        self.slots = torch.empty((_AHEAD, BLOCK), dtype=torch.uint8)

    def of(self, key: str, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Begin to draw what ``comfy.float.stochastic_rounding`` rounds a weight of this name by.

        On a CPU a generator gives the same bytes in blocks as at once.

        Args:
            key: the weight's name in the MODEL.
            sizes: number of bytes of each block, at most ``BLOCK``.

        Returns:
            The blocks, uint8; each is overwritten once the next one is asked for.
        """
        generator = torch.Generator().manual_seed(comfy.utils.string_to_seed(key))

        @torch.inference_mode()  # nodes run in it, other threads do not
        def draw(block: int) -> Tensor:
            return self.slots[block % _AHEAD, : sizes[block]].random_(0, 256, generator=generator)

        drawn = deque(self.worker.submit(draw, block) for block in range(min(_AHEAD, len(sizes))))

        def blocks() -> Iterator[Tensor]:
            for block in range(_AHEAD, len(sizes) + _AHEAD):
                yield drawn.popleft().result()
                if block < len(sizes):
                    drawn.append(self.worker.submit(draw, block))

        return blocks()
