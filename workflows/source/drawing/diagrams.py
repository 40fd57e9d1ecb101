"""The pictures of help pages that show levels and frames, drawn from the functions that make them; ComfyUI must be importable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hosting.process import pack_module

from .wiring import BODY, INK, MARK, MUTED, OURS, PAPER, WIRING, wiring

SCALE = 2
SHIFTS = {1: (142, 147, 158), 3: (98, 124, 160), 5: MARK, 8: OURS}
SHOWN = (*range(17), None, *range(77, 81))  # video frames of LatentFrames' picture; None is left out


def levels(table, multipliers) -> Image.Image:
    """What Plot Condition (Pusa) draws of a table of levels, whose frames have ``multipliers``, [T]."""
    plot = pack_module("pusa_model.timeline.plot").plot_levels(table.clock, multipliers, levels=table.levels)
    return Image.fromarray((plot[0].numpy() * 255).round().astype(np.uint8))


def made(frames: int, given: dict[int, float], kind: str, steps: int, **recipe) -> tuple:
    """A table of the official levels, and its multipliers."""
    import torch

    multipliers = torch.ones(frames)
    multipliers[list(given)] = torch.tensor(list(given.values()))
    grid = pack_module("schedulers.flow_match").flow_match_sigmas(steps)
    return pack_module("schedulers.level_table").Recipe(kind, **recipe).table(multipliers, grid), multipliers


def condition() -> Image.Image:
    """Three keyframes."""
    return levels(*made(21, {0: 0.2, 10: 0.4, 20: 0.6}, "scaled", 10))


def schedule() -> Image.Image:
    """Blocks of five frames, five steps apart, behind a clean first frame."""
    return levels(*made(25, {0: 0.0}, "delay", 30, lag=5, block=5))


def window() -> Image.Image:
    """A staircase through a window of 21 latent frames, and the edges of the window."""
    plot = pack_module("pusa_model.timeline.plot")
    lag = pack_module("schedulers.level_table").lag_of_window(10, 21, 1)
    table, multipliers = made(41, {}, "delay", 10, lag=lag, window=21)
    image = levels(table, multipliers)
    draw = ImageDraw.Draw(image)
    wide, high = (plot.RIGHT - plot.LEFT) / table.levels.shape[1], (plot.BOTTOM - plot.TOP) / len(table.levels)
    for side in (0, 1):
        corners = []
        for row, edges in enumerate(table.windows):
            x = plot.LEFT + edges[side] * wide
            corners += [(x, plot.TOP + row * high), (x, plot.TOP + (row + 1) * high)]
        draw.line(corners, fill=plot.MARK, width=4)
    draw.text((plot.RIGHT, 50), "between the lines: the window", font=ImageFont.load_default(18), fill=plot.MARK, anchor="ra")
    return image


def shift() -> Image.Image:
    """The levels of ten steps by shift."""
    size, left, top, right, bottom = (720, 400), 70, 45, 690, 345
    image = Image.new("RGB", [SCALE * side for side in size], PAPER)
    draw = ImageDraw.Draw(image)

    def at(step: float, sigma: float) -> tuple[float, float]:
        return SCALE * (left + step * (right - left) / 10), SCALE * (bottom - sigma * (bottom - top))

    def words(place: tuple, text: str, colour: tuple, anchor: str, size: int = 16) -> None:
        draw.text(place, text, font=ImageFont.load_default(size * SCALE), fill=colour, anchor=anchor)

    for sigma in (0, 0.25, 0.5, 0.75, 1):
        draw.line([at(0, sigma), at(10, sigma)], fill=BODY, width=SCALE)
        words((SCALE * (left - 12), at(0, sigma)[1]), f"{sigma:g}", MUTED, "rm")
    for step in range(11):
        words((at(step, 0)[0], SCALE * (bottom + 10)), str(step), MUTED, "ma")
    words((SCALE * 24, SCALE * 8), "sigma", INK, "la", 18)
    words((SCALE * (left + right) / 2, SCALE * (bottom + 30)), "step", INK, "ma", 18)
    for number, (value, colour) in enumerate(SHIFTS.items()):
        sigmas = pack_module("schedulers.flow_match").flow_match_sigmas(10, float(value)).tolist()
        points = [at(step, sigma) for step, sigma in enumerate(sigmas)]
        draw.line(points, fill=colour, width=(3 if value == 5 else 2) * SCALE, joint="curve")
        for x, y in points:
            draw.ellipse((x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE), fill=colour)
        words((SCALE * (left + 20), SCALE * (bottom - 24 - 24 * number)), f"shift {value}", colour, "lm", 18)
    return image.resize(size, Image.Resampling.LANCZOS)


def frames() -> Image.Image:
    """Latent frames 0 to 4 and 20 above the video frames that each stands for; positions 0-3 are marked."""
    geometry, size, cell, gap = pack_module("schedulers.geometry"), (760, 180), 28, 5
    image = Image.new("RGB", [SCALE * side for side in size], PAPER)
    draw = ImageDraw.Draw(image)

    def box(left: float, top: int, right: float, high: int, text: str, fill: tuple, ink: tuple, size: int) -> None:
        draw.rectangle([SCALE * edge for edge in (left, top, right, top + high)], fill=fill)
        place = (SCALE * (left + right) / 2, SCALE * (top + high / 2))
        draw.text(place, text, font=ImageFont.load_default(size * SCALE), fill=ink, anchor="mm")

    places = {frame: 22 + index * (cell + gap) for index, frame in enumerate(SHOWN)}
    for latent in (0, 1, 2, 3, 4, 20):
        pixels, marked = geometry.pixel_frames(latent), latent <= 3
        box(places[pixels[0]], 40, places[pixels[-1]] + cell, 40, str(latent), MARK if marked else OURS, PAPER, 18)
        for pixel in pixels:
            fill = (247, 220, 211) if marked else (208, 219, 234)
            box(places[pixel], 102, places[pixel] + cell, 36, str(pixel), fill, INK, 15)
    for top, text in ((60, "..."), (120, "...")):
        draw.text(
            (SCALE * (places[None] + cell / 2), SCALE * top), text, font=ImageFont.load_default(18 * SCALE), fill=INK, anchor="mm"
        )
    for (x, y), text, colour, anchor in (
        ((22, 14), "latent frames", INK, "la"),
        ((22, 148), "video frames", INK, "la"),
        ((size[0] - 22, 14), "positions 0-3", MARK, "ra"),
    ):
        draw.text((SCALE * x, SCALE * y), text, font=ImageFont.load_default(16 * SCALE), fill=colour, anchor=anchor)
    return image.resize(size, Image.Resampling.LANCZOS)


DIAGRAMS: dict[str, Callable[[], Image.Image]] = {
    "PusaConditionPlot/levels.png": condition,
    "PusaSchedule/levels.png": schedule,
    "PusaRollingVideo/window.png": window,
    "PusaScheduler/shift.png": shift,
    "PusaLatentFrames/frames.png": frames,
}


def drawn() -> dict[str, Image.Image]:
    """Every picture of a help page that is drawn without a model, by its file in web/docs."""
    wires = {f"{page}/wiring.png": wiring(page) for page in WIRING}
    return wires | {file: draw() for file, draw in DIAGRAMS.items()}
