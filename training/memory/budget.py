"""The memory that a run takes on a GPU, computed from shapes before anything is loaded, and what makes it fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ...schedulers import InputError
from ..settings import Settings
from .optimizers import state_size
from .outline import Outline
from .quantised import FILE

# What one block keeps of a token for the way back, in bytes for each number of (width, hidden width of the feed-forward, rank of a
# LoRA), by the precision of products and of the residual stream: measured on a CPU by what autograd saves.
SAVED = {("bf16", "bf16"): (52, 4, 16), ("bf16", "fp32"): (66, 4, 16), ("no", "fp32"): (76, 8, 32), ("no", "bf16"): (76, 4, 32)}
FULL = 20  # more for each number of the width where the weights themselves are trained
PASSING = (8, 4)  # gradients on their way through the block that the peak is in, by the allocator, for (width, hidden width)
RESERVE = 1.5e9  # CUDA itself, the latents, what the allocator leaves unused
IN_FLIGHT = 2  # blocks that are on the GPU where they come and go


@dataclass(frozen=True)
class Need:
    """Bytes on the GPU, by what they are for."""

    trained: float
    base: float
    activations: float
    block: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.trained + self.base + self.activations + self.block + RESERVE

    def __str__(self) -> str:
        """The sum in words."""
        parts = {
            "trained weights, gradients and optimiser": self.trained,
            "base": self.base,
            "an activation for each block": self.activations,
            "inside one block": self.block,
            "CUDA and rest": RESERVE,
        }
        return " + ".join(f"{size / 1e9:.1f} ({name})" for name, size in parts.items()) + f" = {self.total / 1e9:.1f} GB"


def tokens(shapes: Iterable[Sequence[int]]) -> int:
    """Tokens of the largest clip; latents [C, T, h, w]."""
    return max(frames * math.ceil(height / 2) * math.ceil(width / 2) for _, frames, height, width in shapes)


def need(found: Outline, trained: int, count: int, settings: Settings, full: bool = False) -> Need:
    """What a run takes.

    Args:
        trained: numbers that are trained.
        count: tokens of the largest clip.
        full: the base itself is trained, in float32.
    """
    wide = 2 if settings.activations == "bf16" else 4
    rows = count * settings.batch_size
    saved = rows * _saved(found, trained, settings, full)
    away = max(0, settings.blocks_on_cpu - IN_FLIGHT) / max(1, found.blocks)
    smaller = found.saved(settings.base_dtype)
    wider = 2 if settings.mixed_precision == "bf16" else 4
    largest = max(map(math.prod, found.taken))
    if settings.base_dtype == FILE:
        copied, whole = _copied(torch.float32 if full else found.dtype, settings)
    else:
        copied, whole = 0, wider  # a layer's weight, dequantised
    saved += copied * found.passed
    kept = found.blocks * rows * found.width * wide if settings.gradient_checkpointing else saved * (found.blocks - 1)
    averaged = 4 if settings.ema else 0
    return Need(
        trained=trained * (8 + state_size(settings.optimizer) + averaged),
        base=0 if full else found.size - smaller - away * (found.block_size - smaller),
        activations=0 if settings.offload_activations else kept,
        block=saved + max(whole * largest, rows * (PASSING[0] * found.width + PASSING[1] * found.hidden)),
    )


def _saved(found: Outline, trained: int, settings: Settings, full: bool) -> float:
    """Bytes of a token that one block keeps."""
    width, hidden, rank = SAVED[settings.mixed_precision, settings.activations]
    ranks = 0 if full else trained / sum(map(sum, found.linear.values()))
    return (width + FULL * full) * found.width + hidden * found.hidden + rank * ranks


def _copied(held: torch.dtype, settings: Settings) -> tuple[int, int]:
    """Bytes for each number of a weight of another dtype than products are made in: (autograd keeps, more while it is cast).

    ComfyUI casts it to the dtype of what it is multiplied with, and autocast casts that to bf16.
    """
    stream = torch.bfloat16 if settings.activations == "bf16" else torch.float32
    product = torch.bfloat16 if settings.mixed_precision == "bf16" else stream
    return (0 if held == stream == product else product.itemsize), (0 if stream in (held, product) else stream.itemsize)


def fitted(
    limit: float, found: Outline, trained: int, count: int, settings: Settings, full: bool = False, quantise: bool = False
) -> Settings:
    """Settings with the least of what costs time that makes a run fit: checkpointing, then activations, then blocks in memory.

    Args:
        limit: bytes of the GPU.
        quantise: whether a base that is not, and is not trained, may be held in 8 bits where nothing else does.

    Raises:
        InputError: nothing does; says what is the least, and what would take less.
    """
    for tried in _cheapest_first(settings, 0 if full else found.blocks, quantise):
        if need(found, trained, count, tried, full).total <= limit:
            return tried
    least = need(found, trained, count, tried, full)
    bits = " and the base in 8 bits" if quantise else ""
    raise InputError(
        f"`memory`: {limit / 1e9:g} GB are not enough, with everything in RAM that can be{bits}: {least}. Less is taken by a lower "
        "--rank, --optimizer adamw8bit, fewer frames or a smaller size of the clips, and --batch_size 1."
    )


def _cheapest_first(settings: Settings, blocks: int, quantise: bool) -> Iterator[Settings]:
    yield settings
    settings = replace(settings, gradient_checkpointing=True)
    yield settings
    settings = replace(settings, offload_activations=True)
    yield settings
    numbers = range(settings.blocks_on_cpu + 1, blocks + 1)
    yield from (replace(settings, blocks_on_cpu=number) for number in numbers)
    if quantise:
        yield from (replace(settings, blocks_on_cpu=number, base_dtype="int8") for number in (settings.blocks_on_cpu, *numbers))


def advice(limit: float, found: Outline, trained: int, count: int, before: Settings, after: Settings) -> str | None:
    """What a base in 8 bits would spare a run whose blocks ``fitted`` has put into memory, in words; None if it spares nothing."""
    if after.blocks_on_cpu == before.blocks_on_cpu or after.base_dtype != FILE or not found.quantisable:
        return None
    other = fitted(limit, found, trained, count, replace(before, base_dtype="int8"))
    return f"With --base_dtype int8, which changes the numbers a little, it takes {chosen(before, other)}."


def chosen(before: Settings, after: Settings) -> str:
    """The options that were chosen, as they are typed."""
    options = [
        f"--{name}" for name in ("gradient_checkpointing", "offload_activations") if getattr(after, name) > getattr(before, name)
    ]
    if after.blocks_on_cpu != before.blocks_on_cpu:
        options.append(f"--blocks_on_cpu {after.blocks_on_cpu}")
    if after.base_dtype != before.base_dtype:
        options.append(f"--base_dtype {after.base_dtype}")
    return " ".join(options) or "nothing more than what is given"
