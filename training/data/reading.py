"""Which parts of which clips are read, and what is told of them: frame rates, and what the sizes cut off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from torch import Tensor

from ...schedulers import InputError
from .clips import Sizes, length, read_clip, read_picture
from .datasets import Item

WINDOWS = ("head", "middle", "chunks")
MUCH = 0.25  # share that is cut off, from which on a clip is told of


@dataclass
class Reader:
    """Reads items, several threads at once if need be, and remembers what there is to tell of them.

    Attributes:
        frames: of a clip.
        sizes: (width, height) to choose from.
        fps: frames per second that clips are taken at; None takes them as they are.
        window: ``head`` takes the beginning of a clip, ``middle`` its middle, ``chunks`` all of it, cut into clips.
    """

    frames: int
    sizes: Sizes
    fps: Fraction | None
    window: str = "head"
    rates: dict[str, Fraction | None] = field(default_factory=dict)
    cuts: dict[str, float] = field(default_factory=dict)

    def windows(self, items: Iterable[Item]) -> list[Item]:
        """The parts of clips that are read; clips that are too short, broken or pictures stay as they are."""
        if self.window == "head":
            return list(items)
        parts = []
        for item in items:
            try:
                there = 0 if item.picture else length(item.path, self.fps)
            except InputError:  # reading it says so
                there = 0
            if there < self.frames:
                parts.append(item)
            elif self.window == "middle":
                parts.append(replace(item, start=(there - self.frames) // 2))
            else:
                starts = range(0, there - self.frames + 1, self.frames)
                parts += [replace(item, name=f"{item.name}#{start}" if start else item.name, start=start) for start in starts]
        return parts

    def __call__(self, item: Item) -> Tensor:
        """Frames [F, H, W, 3] of an item, 8-bit.

        Raises:
            InputError: says why it cannot be used.
        """
        if item.picture:
            clip = read_picture(item.path, self.sizes)
        else:
            clip = read_clip(item.path, self.frames, self.sizes, self.fps, item.start)
            self.rates[item.name] = clip.rate
        self.cuts[item.name] = clip.cut
        return clip.pixels

    def told(self) -> list[str]:
        """Lines on what was read: one for each frame rate, one on what was cut off."""
        rates = Counter(self.rates[name] for name in sorted(self.rates))
        lines = [f"{count} clips {self._rate_in_words(rate)}" for rate, count in rates.most_common()]
        if self.cuts:
            mean = math.fsum(self.cuts.values()) / len(self.cuts)
            lines.append(f"cut off to fit the size: {mean:.0%} of the area on average")
        worst = sorted((name for name, cut in self.cuts.items() if cut >= MUCH), key=lambda name: (-self.cuts[name], name))
        if worst:
            named = ", ".join(f"{name} ({self.cuts[name]:.0%})" for name in worst[:3])
            lines.append(f"Warning: {len(worst)} lose a quarter or more: {named}. --sizes takes several sizes, portrait too.")
        return lines

    def _rate_in_words(self, rate: Fraction | None) -> str:
        if rate is None:
            return "say no frame rate: taken frame by frame"
        at = f"at {float(rate):.4g} frames per second"
        if self.fps is None:
            return f"{at}: taken frame by frame, whatever the rate of the model"
        if rate == self.fps:
            return f"{at}, the rate of the model"
        change = f"{at}: taken at {float(self.fps):g}"
        return f"{change}; WARNING: slower than that, so frames are repeated" if rate < self.fps * Fraction(99, 100) else change
