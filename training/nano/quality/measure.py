"""What a clip of the small world shows, read from its pixels: colours, shapes, places, sizes and motions.

Nothing here knows what was asked for. A thing is what differs from the background, which is the median of every row; it is
compared with the drawings and the courses of the world.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .. import world

SEEN = 0.12  # least difference from the background, of the greatest channel
LEAST_AREA = 25.0  # pixels; less is no thing
FAR = 0.3  # distance in RGB at which a colour is none of the world's
SAMPLES = 9  # frames whose shape is looked at
SCALES, SHIFTS = (0.92, 0.96, 1.0, 1.04, 1.08), (-0.5, 0.0, 0.5)  # of the drawings that an outline is held against, pixels
STILL = 2.5  # pixels of path that count as standing still


@dataclass(frozen=True)
class Seen:
    """One thing as it was seen; words are `none` where nothing fits.

    Attributes:
        colour, shape, motion: words of the world.
        track: centres of area (x, y) in pixels, [T, 2]; NaN where nothing was seen.
        area: pixels covered, [T].
    """

    colour: str
    shape: str
    motion: str
    track: Tensor
    area: Tensor


def difference_of(video: Tensor) -> Tensor:
    """Greatest difference of a channel from the background, [T, 64, 64], of a clip [T, 64, 64, 3] in [0, 1]."""
    background = video.median(dim=2, keepdim=True).values.median(dim=0, keepdim=True).values
    return (video - background).abs().amax(-1)


def outline(video: Tensor, shape: str) -> Tensor:
    """How well the one thing of a clip agrees in each frame with the best drawing of its shape: intersection over union, [T].

    The drawing has about the thing's area and place. Even a true clip has less than 1: its thing is told from the background by a
    threshold. A clip whose thing is lumpy has less than that.

    Args:
        video: [T, 64, 64, 3] in [0, 1].
    """
    cover = covered(difference_of(video))
    area = cover.sum((1, 2)).clamp(min=1)
    y, x = torch.meshgrid(torch.arange(world.SIDE), torch.arange(world.SIDE), indexing="ij")
    across, down = ((cover * place).sum((1, 2)) / area for place in (x, y))
    unit_area, low = drawing(shape)
    best = torch.zeros(len(video))
    for scale, right, under in itertools.product(SCALES, SHIFTS, SHIFTS):
        radius = scale * (area / unit_area).sqrt()[:, None, None]
        places = (x - (across + right)[:, None, None]) / radius, (y - (down + under)[:, None, None]) / radius + low
        drawn = (0.5 - world.distance(shape, *places) * radius / world.EDGE).clamp(0, 1)
        best = torch.maximum(best, torch.minimum(drawn, cover).sum((1, 2)) / torch.maximum(drawn, cover).sum((1, 2)))
    return best


def look(video: Tensor, things: int = 1) -> tuple[Seen, ...]:
    """The things of a clip.

    Args:
        video: [T, 64, 64, 3] in [0, 1].
        things: 1, or 2 for one in the upper and one in the lower half.
    """
    difference = difference_of(video)
    halves = [(0, world.SIDE)] if things == 1 else [(0, world.SIDE // 2), (world.SIDE // 2, world.SIDE)]
    return tuple(look_at(video[:, top:end], difference[:, top:end], top) for top, end in halves)


def covered(difference: Tensor) -> Tensor:
    """How far a thing covers each pixel, [T, H, W] in [0, 1], from the difference to the background."""
    strength = difference.flatten(1).quantile(0.99, dim=1).median().clamp(min=2 * SEEN)
    cover = ((difference - SEEN / 2) / (strength - SEEN / 2)).clamp(0, 1)
    return torch.where(difference > SEEN, cover, 0)


def look_at(video: Tensor, difference: Tensor, top: int) -> Seen:
    """The one thing of a strip that begins at row `top`."""
    cover = covered(difference)
    area = cover.sum((1, 2))
    y, x = torch.meshgrid(torch.arange(video.shape[1]) + top, torch.arange(video.shape[2]), indexing="ij")
    track = torch.stack([(cover * x).sum((1, 2)), (cover * y).sum((1, 2))], 1) / area[:, None]
    track[area < LEAST_AREA] = math.nan
    shown = area >= LEAST_AREA
    if not shown.any():
        return Seen("none", "none", "none", track, area)
    return Seen(
        name_colour(video, cover),
        name_shape(cover[shown], track[shown], area[shown], top),
        name_motion(track, area) if shown.float().mean() > 0.9 else "none",
        track,
        area,
    )


def name_colour(video: Tensor, cover: Tensor) -> str:
    """The colour nearest to the median of what is fully covered."""
    inside = video[cover > 0.8]
    if not len(inside):
        return "none"
    seen = inside.median(dim=0).values
    distances = {name: (seen - torch.tensor(colour)).norm().item() for name, colour in world.COLOURS.items()}
    name = min(distances, key=distances.get)
    return name if distances[name] < FAR else "none"


def name_shape(cover: Tensor, track: Tensor, area: Tensor, top: int) -> str:
    """The shape whose drawing, of the same area at the same place, agrees best over some frames."""
    some = torch.linspace(0, len(cover) - 1, min(SAMPLES, len(cover))).round().long()
    cover, track, area = cover[some], track[some], area[some]
    y, x = torch.meshgrid(torch.arange(cover.shape[1]) + top, torch.arange(cover.shape[2]), indexing="ij")
    agreement = {}
    for shape in world.SHAPES:
        unit_area, low = drawing(shape)
        radius = (area / unit_area).sqrt()[:, None, None]
        across = (x - track[:, 0, None, None]) / radius
        down = (y - track[:, 1, None, None]) / radius + low
        drawn = (0.5 - world.distance(shape, across, down) * radius / world.EDGE).clamp(0, 1)
        agreement[shape] = (torch.minimum(drawn, cover).sum() / torch.maximum(drawn, cover).sum()).item()
    name = max(agreement, key=agreement.get)
    return name if agreement[name] > 0.5 else "none"


@cache
def drawing(shape: str) -> tuple[float, float]:
    """Area of a shape of radius 1, and how far its centre of area lies below its origin."""
    steps = torch.linspace(-2, 2, 401)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    inside = world.distance(shape, x, y) < 0
    return inside.sum().item() * 1e-4, y[inside].mean().item()


def name_motion(track: Tensor, area: Tensor) -> str:
    """The motion whose course fits the centres best; a straight line wins over a curve that is hardly better."""
    frames = torch.arange(len(track))[~track[:, 0].isnan()]
    track, area = track[frames].double(), area[frames]
    t = frames.double()
    if math.hypot(*extent(track)) < 2 * STILL and area[-4:].mean() / area[:4].mean() > 1.6:
        return "grows"
    errors = {"straight": fit(track, [t]), "stops": fit(track, [t.clamp(max=world.STOP)])}
    angle = 2 * math.pi * t / world.PERIOD
    if min(extent(track)) > 0.5 * max(extent(track)):  # neither goes to and fro on a line
        errors["circles"] = fit(track, [angle.cos(), angle.sin()])
    errors["bounces"] = bounce_error(track, t)
    name = min(errors, key=errors.get)
    if errors[name] > 2.0 or math.hypot(*extent(track)) < 2 * STILL:
        return "none"
    if name == "straight":
        across, down = (track[-1] - track[0]).tolist()
        if min(abs(across), abs(down)) > 0.4 * max(abs(across), abs(down)):
            return "none"  # aslant
        if abs(across) > abs(down):
            return "moves right" if across > 0 else "moves left"
        return "moves down" if down > 0 else "moves up"
    return name


def extent(track: Tensor) -> list[float]:
    """Width and height of the box around a course, pixels."""
    return (track.amax(0) - track.amin(0)).tolist()


def fit(track: Tensor, courses: list[Tensor]) -> float:
    """Root mean square distance from the best combination of some courses and a place, pixels."""
    columns = torch.stack([torch.ones(len(track), dtype=track.dtype), *courses], 1)
    solution = torch.linalg.lstsq(columns, track).solution
    return (track - columns @ solution).square().sum(1).mean().sqrt().item()


def bounce_error(track: Tensor, t: Tensor) -> float:
    """The same for a course up and down that turns round once."""
    bends = (t - t[2:-2, None]).abs()  # [courses, T]
    bends = bends - bends.mean(1, keepdim=True)
    centred = track - track.mean(0)
    explained = (bends @ centred[:, 1]).square() / bends.square().sum(1)
    return ((centred.square().sum() - explained.amax()).clamp(min=0) / len(t)).sqrt().item()
