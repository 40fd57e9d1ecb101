"""Several calls measured beside each other in one process.

Machines are shared and noisy, so the calls take turns, and what counts is the ratio of neighbours: slow moments meet all of them.
On a CPU the products that two calls do alike can be left out of what they are told apart by (`products.py`).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from .products import Products, alike, recorded, seconds_of

Calls = dict[str, Callable[[], object]]
LEAST, MOST = 7, 15  # rounds
CLOSE = 0.002


class Times:
    """Seconds of each call in each round.

    Attributes:
        seconds: {name: one number a round}.
        products: {name: those of each round}, or empty where they were not recorded.
        base: the name that the others are held against, the first one.
    """

    def __init__(self, seconds: dict[str, list[float]], products: dict[str, list[Products]] | None = None):
        self.seconds, self.products = seconds, products or {}
        self.base = next(iter(seconds))

    def median(self, name: str) -> float:
        """Seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str | None = None) -> float:
        """Median over median."""
        return self.median(name) / self.median(base or self.base)

    def rounds(self, name: str, base: str | None = None) -> list[float]:
        """Ratio in each round."""
        return [one / other for one, other in zip(self.seconds[name], self.seconds[base or self.base])]

    def typical(self, name: str) -> tuple[float, float]:
        """Median of the ratios in all rounds, and how far it may be off: slow moments of the machine meet both calls of a round."""
        rounds = self.rounds(name)
        return statistics.median(rounds), uncertainty(rounds)

    def by_rest(self, name: str, base: str | None = None) -> list[float]:
        """Ratio in each round by what the calls do otherwise.

        That is 1 + the difference of the times outside the products that both do alike, over the median time of the base.
        """
        base = base or self.base
        found = []
        for one, other, products, others in zip(*(table[key] for table in (self.seconds, self.products) for key in (name, base))):
            same = alike(products, others)
            rest = (one - seconds_of(products, same)) - (other - seconds_of(others, same))
            found.append(1 + rest / self.median(base))
        return found

    def judged(self, name: str) -> tuple[float, float]:
        """The finest ratio to the base that there is, and how far it may be off: by the rest if products were recorded."""
        if not self.products:
            return self.typical(name)
        rounds = self.by_rest(name)
        return statistics.median(rounds), uncertainty(rounds)

    def settled(self) -> bool:
        """Whether more rounds would hardly move the medians of the ratios."""
        return all(self.judged(name)[1] <= CLOSE for name in self.seconds)


def uncertainty(values: list[float]) -> float:
    """Half of the interval in which the median lies with about 95 %: 1.57 times the middle half over sqrt(n).

    Source: the notches of box plots; McGill, Tukey and Larsen, Variations of Box Plots, The American Statistician 32 (1978).
    """
    low, _, high = statistics.quantiles(values, n=4)
    return 1.57 * (high - low) / len(values) ** 0.5


def interleaved(
    calls: Calls, undo: Callable[[], object] | None = None, least: int = LEAST, most: int = MOST, products: bool = False
) -> Times:
    """Time calls in turns: at least ``least`` rounds, then until the ratios have settled or ``most`` is reached.

    One run of each before the first round does not count. Every round begins with another call.

    Args:
        undo: runs behind every call and is not timed.
        products: record them, if there is no GPU.
    """
    names = list(calls)
    products = products and not torch.cuda.is_available()
    times = Times({name: [] for name in names}, {name: [] for name in names} if products else None)
    for turn in range(-1, most):
        if turn >= max(least, 2) and times.settled():
            break
        progress(f"round {turn + 1} of {least} to {most}")
        first = max(turn, 0) % len(names)
        for name in names[first:] + names[:first]:
            seconds, found = recorded(calls[name], timed) if products else (timed(calls[name]), None)
            if undo is not None:
                undo()
            if turn >= 0:
                times.seconds[name].append(seconds)
                if products:
                    times.products[name].append(found)
    progress("")
    return times


def progress(text: str) -> None:
    """Say on a terminal how far it is, on one line."""
    if sys.stderr.isatty():
        print(f"\r{text:40}\r", end="", file=sys.stderr, flush=True)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call, its work on a GPU included."""
    synchronize()
    began = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - began


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
