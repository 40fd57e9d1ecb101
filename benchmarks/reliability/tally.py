"""What is counted, and how a fault is told so that it can be had again."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, field

KINDS = ("crash", "silent", "lost")
LONGEST = 4000  # characters of a graph that are printed with a fault


@dataclass
class Tally:
    """One row of the table.

    Attributes:
        letter, name: of the check.
        seed: that all its items are drawn from.
        tried: items.
        faults: (kind, number, words) of each fault.
        notes: figures that stand beside the counts.
        limits: (what, value, most) of figures that must not be above a number.
    """

    letter: str
    name: str
    seed: int
    tried: int = 0
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    limits: list[tuple[str, float, float]] = field(default_factory=list)

    def random(self, number: int) -> random.Random:
        """The random numbers of one item, whichever came before it."""
        return random.Random(f"{self.seed} {self.letter} {self.name} {number}")

    def fault(self, kind: str, number: int, words: str, graph: dict | None = None) -> None:
        """Count a fault and print what reproduces it."""
        self.faults.append((kind, number, words))
        again = f"--only '{self.letter}/{self.name}' --seed {self.seed} --number {number}"
        print(f"{kind.upper()} {again}\n    {words[:1500]}", file=sys.stderr, flush=True)
        text = json.dumps(graph) if graph else ""
        if 0 < len(text) <= LONGEST:
            print(f"    {text}", file=sys.stderr, flush=True)

    def limit(self, what: str, value: float, most: float) -> None:
        """Hold a figure against a number."""
        self.limits.append((what, value, most))

    @property
    def kept(self) -> bool:
        """Whether there is no fault, and every figure is within its limit."""
        return not self.faults and all(value <= most for _, value, most in self.limits)

    def count(self, kind: str) -> int:
        """Items with a fault of this kind."""
        return len({number for found, number, _ in self.faults if found == kind})

    @property
    def row(self) -> list[str]:
        """The cells of the table."""
        limits = [f"{what} {value:.4g}, at most {most:g}" for what, value, most in self.limits]
        counts = [str(self.tried), *(str(self.count(kind)) for kind in KINDS)]
        return [self.letter, self.name, *counts, "; ".join([*self.notes, *limits])]
