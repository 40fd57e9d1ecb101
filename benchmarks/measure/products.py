"""Which part of a call's time its matrix products, attention and GELU take, each told by the shapes that it works on.

Two calls that do the same products on the same shapes differ only in the rest. On a CPU the products are nearly all of the
time, and a busy machine does the same product now faster, now slower; the rest alone is told far more finely.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or PyTorch prints a line for every start and stop of the profiler
NAMES = frozenset({"aten::addmm", "aten::mm", "aten::bmm", "aten::gelu", "aten::_scaled_dot_product_flash_attention_for_cpu"})
Products = dict[tuple[str, str], "Part"]  # by (name, shapes)


@dataclass(frozen=True)
class Part:
    """How often a product was done in a call, and its seconds in all."""

    count: int
    seconds: float


def recorded(call: Callable[[], object], timed: Callable) -> tuple[float, Products]:
    """Seconds of a call on a CPU by ``timed``, and its products."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True) as record:
        seconds = timed(call)
    found = {
        (event.key, str(event.input_shapes)): Part(event.count, event.self_cpu_time_total / 1e6)
        for event in record.key_averages(group_by_input_shape=True)
        if event.key in NAMES
    }
    return seconds, found


def alike(one: Products, other: Products) -> set[tuple[str, str]]:
    """Products that both calls do equally often on the same shapes."""
    return {key for key, part in one.items() if key in other and other[key].count == part.count}


def seconds_of(products: Products, keys: set[tuple[str, str]]) -> float:
    """Seconds of some products together."""
    return sum(products[key].seconds for key in keys)
