"""A plot of the losses of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

SIZE, MARGIN = (960, 540), (70, 20, 20, 45)  # width and height; left, top, right, bottom
COLOURS = {
    "loss": (150, 150, 150),
    "t2v": (200, 120, 0),
    "i2v": (0, 110, 200),
    "start_end": (0, 150, 90),
    "extension": (170, 40, 140),
}
TICKS = 5
SMOOTH = 50  # steps that the drawn training loss is a mean over


def draw(series: Mapping[str, Sequence[tuple[int, float]]]) -> Image.Image:
    """Curves over the steps, one for each name that has points; the training loss is drawn as a running mean.

    Args:
        series: points (step, value) by the names of ``COLOURS``, in the order of their steps.

    Returns:
        An RGB picture; without a finite point it has axes only.
    """
    curves = {name: [each for each in points if math.isfinite(each[1])] for name, points in series.items()}
    curves["loss"] = running_mean(curves.get("loss", []), SMOOTH)
    curves = {name: points for name, points in curves.items() if points}
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    steps = [step for points in curves.values() for step, _ in points] or [0]
    values = [value for points in curves.values() for _, value in points] or [0.0]
    across, up = (
        _axis(0, max(steps), MARGIN[0], SIZE[0] - MARGIN[2]),
        _axis(min(values), max(values), SIZE[1] - MARGIN[3], MARGIN[1]),
    )
    for tick in range(TICKS + 1):
        share = tick / TICKS
        value, step = min(values) + share * (max(values) - min(values)), round(share * max(steps))
        pen.line([(MARGIN[0], up(value)), (SIZE[0] - MARGIN[2], up(value))], fill=(225, 225, 225))
        pen.text((8, up(value) - 6), f"{value:.4g}", fill="black", font=font)
        pen.text((across(step) - 8, SIZE[1] - MARGIN[3] + 6), str(step), fill="black", font=font)
    for place, (name, points) in enumerate(curves.items()):
        places = [(across(step), up(value)) for step, value in points]
        pen.line(places, fill=COLOURS[name], width=2)
        for x, y in places if name != "loss" else ():
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=COLOURS[name])
        pen.text((MARGIN[0] + 110 * place, SIZE[1] - 18), f"{name} {points[-1][1]:.4g}", fill=COLOURS[name], font=font)
    return image


def running_mean(points: Sequence[tuple[int, float]], width: int) -> list[tuple[int, float]]:
    """Each point's value as the mean of it and up to ``width - 1`` before it."""
    totals = [0.0]
    for _, value in points:
        totals.append(totals[-1] + value)
    starts = [max(0, end - width) for end in range(1, len(totals))]
    return [(points[end - 1][0], (totals[end] - totals[first]) / (end - first)) for end, first in enumerate(starts, 1)]


def _axis(low: float, high: float, begin: int, end: int):
    """Function from a value to its place in pixels."""
    span = high - low or 1.0
    return lambda value: begin + (value - low) / span * (end - begin)
