"""A picture of the noise levels of every latent frame over the steps."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...schedulers import InputError, pixel_frames
from ...schedulers.finite import all_finite
from ...schedulers.geometry import FACTOR

WIDTH, HEIGHT = 1024, 640
LEFT, TOP, RIGHT, BOTTOM = 120, 108, 924, 548
CLEAN, NOISE = np.array([16, 52, 92]), np.array([246, 235, 208])
ROUNDING = 1e-3  # by which a scheduler may begin above 1
INK, MUTED, MARK = (28, 32, 38), (104, 110, 118), (206, 78, 44)


def plot_levels(sigmas: Tensor, multipliers: Tensor, factor: int = FACTOR, levels: Tensor | None = None) -> Tensor:
    """Draw the level table as a heat map: a column per latent frame, a row per step, conditioned columns marked.

    Args:
        sigmas: global levels [K + 1], from 1 (noise) at most, nowhere rising, to 0 (clean) at least.
        multipliers: m in [0, 1], shape [T].
        factor: pixel frames of a latent frame.
        levels: of every frame in every step, [K + 1, T]; None is ``m_i sigma_k``.

    Returns:
        One RGB picture [1, 640, 1024, 3] in [0, 1]; its text stays readable at a width of 768.

    Raises:
        InputError: the levels are not those of a run.
    """
    _check_levels(sigmas)
    table = sigmas[:, None] * multipliers if levels is None else levels
    rows, columns = table.shape
    image = Image.new("RGB", (WIDTH, HEIGHT), (252, 252, 250))
    draw = ImageDraw.Draw(image)
    _draw_cells(image, table)
    _draw_title(draw, rows - 1, columns, factor)
    _draw_frame_axis(draw, columns, factor)
    _draw_step_axis(draw, sigmas)
    _draw_multipliers(draw, multipliers)
    _draw_scale(image, draw)
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]


def _check_levels(sigmas: Tensor) -> None:
    if sigmas.ndim != 1:
        raise InputError(f"`sigmas` has the shape {tuple(sigmas.shape)}; one list of levels, as a scheduler makes it, is needed.")
    if not len(sigmas):
        raise InputError("`sigmas` is empty; raise the denoise or the steps of the scheduler.")
    if not all_finite(sigmas):
        raise InputError("`sigmas` holds values that are not finite (NaN or infinity).")
    if not (sigmas[0] <= 1 + ROUNDING and sigmas[-1] >= 0 and bool((sigmas.diff() <= 0).all())):
        raise InputError(
            f"`sigmas` go from {float(sigmas[0]):.4g} to {float(sigmas[-1]):.4g}; the levels of a flow-matching run fall, from 1 "
            "(noise) at most to 0 (clean) at least. Connect Scheduler (Pusa), or a scheduler with the Wan model."
        )


def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _colours(levels: np.ndarray) -> np.ndarray:
    weight = levels[..., None]
    return (CLEAN * (1 - weight) + NOISE * weight).round().astype(np.uint8)


def _edges(start: int, stop: int, count: int) -> list[int]:
    return [round(start + (stop - start) * i / count) for i in range(count + 1)]


def _labelled(count: int, room: float, needed: float) -> range:
    """Every n-th index of ``count`` cells that are ``room`` pixels wide, so that a label has the pixels it needs."""
    return range(0, count, next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if n * room >= needed))


def _draw_cells(image: Image.Image, table: Tensor) -> None:
    cells = Image.fromarray(_colours(table.clamp(0, 1).numpy().astype(np.float64)))
    image.paste(cells.resize((RIGHT - LEFT, BOTTOM - TOP), Image.Resampling.NEAREST), (LEFT, TOP))
    draw = ImageDraw.Draw(image)
    draw.rectangle((LEFT, TOP, RIGHT, BOTTOM), outline=MUTED)
    if table.shape[1] <= 128:
        for x in _edges(LEFT, RIGHT, table.shape[1])[1:-1]:
            draw.line((x, TOP, x, BOTTOM), fill=(200, 200, 196))


def _draw_title(draw: ImageDraw.ImageDraw, steps: int, columns: int, factor: int) -> None:
    last = pixel_frames(columns - 1, factor)[-1]
    frames = f"{columns} latent frames (pixel frames 0 to {last})" if columns > 1 else "1 latent frame (pixel frame 0)"
    draw.text((LEFT, 16), "Noise level of every latent frame", font=_font(26), fill=INK)
    draw.text((LEFT, 50), f"{steps} step{'s' * (steps != 1)}, {frames}", font=_font(18), fill=MUTED)


def _draw_frame_axis(draw: ImageDraw.ImageDraw, columns: int, factor: int) -> None:
    edges, room = _edges(LEFT, RIGHT, columns), (RIGHT - LEFT) / columns
    for i in _labelled(columns, room, _font(17).getlength(str(columns)) + 8):
        draw.text(((edges[i] + edges[i + 1]) / 2, BOTTOM + 6), str(i), font=_font(17), fill=INK, anchor="ma")
    for i in _labelled(columns, room, _font(15).getlength(str(factor * columns)) + 24):
        first = pixel_frames(i, factor)[0]
        draw.text(((edges[i] + edges[i + 1]) / 2, BOTTOM + 32), str(first), font=_font(15), fill=MUTED, anchor="ma")
    centre = (LEFT + RIGHT) / 2
    draw.text((centre, BOTTOM + 58), "latent frame  (below it: its first pixel frame)", font=_font(18), fill=INK, anchor="ma")


def _draw_step_axis(draw: ImageDraw.ImageDraw, sigmas: Tensor) -> None:
    edges = _edges(TOP, BOTTOM, len(sigmas))
    for k in _labelled(len(sigmas), (BOTTOM - TOP) / len(sigmas), 26):
        y = (edges[k] + edges[k + 1]) / 2
        draw.text((LEFT - 62, y), str(k), font=_font(17), fill=INK, anchor="rm")
        draw.text((LEFT - 8, y), f"{float(sigmas[k]):.3f}", font=_font(15), fill=MUTED, anchor="rm")
    draw.text((LEFT - 62, TOP - 8), "step", font=_font(17), fill=INK, anchor="rd")
    draw.text((LEFT - 8, TOP - 8), "sigma", font=_font(15), fill=MUTED, anchor="rd")


def _draw_multipliers(draw: ImageDraw.ImageDraw, multipliers: Tensor) -> None:
    edges = _edges(LEFT, RIGHT, len(multipliers))
    written_to = 0.0
    for i, multiplier in enumerate(multipliers.tolist()):
        if multiplier == 1:
            continue
        x0, x1 = edges[i], max(edges[i] + 1, edges[i + 1])
        draw.rectangle((x0, TOP - 5, x1 - 1, TOP - 1), fill=MARK)
        draw.rectangle((x0, BOTTOM + 1, x1 - 1, BOTTOM + 4), fill=MARK)
        text = f"{multiplier:.3g}"
        half = draw.textlength(text, font=_font(17)) / 2
        centre = min(max((x0 + x1) / 2, LEFT + half), RIGHT - half)
        if centre - half >= written_to:  # where columns are narrow, as many as there is room for
            draw.text((centre, TOP - 8), text, font=_font(17), fill=MARK, anchor="md")
            written_to = centre + half + 6
    if bool((multipliers < 1).any()):
        draw.text((RIGHT, 50), "condition frames and their multipliers", font=_font(18), fill=MARK, anchor="ra")


def _draw_scale(image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    x0, x1 = RIGHT + 22, RIGHT + 42
    ramp = _colours(np.linspace(1, 0, BOTTOM - TOP)[:, None])
    image.paste(Image.fromarray(ramp).resize((x1 - x0, BOTTOM - TOP)), (x0, TOP))
    draw.rectangle((x0, TOP, x1, BOTTOM), outline=MUTED)
    for level in (1.0, 0.75, 0.5, 0.25, 0.0):
        draw.text((x1 + 6, BOTTOM - level * (BOTTOM - TOP)), f"{level:g}", font=_font(16), fill=INK, anchor="lm")
    draw.text((x0 + 2, TOP - 10), "noise", font=_font(16), fill=INK, anchor="ld")
    draw.text((x0 + 2, BOTTOM + 8), "clean", font=_font(16), fill=INK, anchor="la")
