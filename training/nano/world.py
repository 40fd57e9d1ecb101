"""The small world: endless procedural clips with captions, in which everything that happens is known.

One or two flat shapes move over a plain background: 64 x 64 pixels, 33 frames, 16 frames a second. A scene follows from
its seed. A fixed share of the combinations of colour, shape and motion never occurs in training; every pair of the three does.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 64
FRAMES = 33
FPS = 16.0
EDGE = 1.5  # width of the soft edge, pixels

COLOURS = {
    "red": (0.87, 0.19, 0.17),
    "green": (0.23, 0.75, 0.27),
    "blue": (0.20, 0.36, 0.92),
    "yellow": (0.96, 0.82, 0.20),
    "purple": (0.68, 0.27, 0.82),
    "white": (0.95, 0.95, 0.95),
}
BACKGROUNDS = {"dark": (0.10, 0.11, 0.14), "grey": (0.44, 0.45, 0.47), "brown": (0.38, 0.25, 0.16), "teal": (0.08, 0.36, 0.38)}
SHAPES = ("circle", "square", "triangle", "cross")
MOTIONS = ("moves right", "moves left", "moves up", "moves down", "bounces", "circles", "grows", "stops")
LANE_MOTIONS = ("moves right", "moves left", "grows", "stops")
SIZES = {"small": 6.5, "large": 9.0}  # radius of the circle of the same area, pixels
LANES = {"above": 17.0, "below": 47.0}  # heights of the two objects of a scene
REACH = 1.4  # farthest point of a shape, in radii
PERIOD = 48.0  # of a round, frames: a clip shows two thirds of one
STOP = 16  # frame at which a thing that stops stands still
BOUNCE = (10, 20)  # frames, the first and the last one at which a thing that falls meets the edge
SPLITS = ("train", "held-out")


@dataclass(frozen=True)
class Thing:
    """One object: what it is, and where it goes.

    Attributes:
        colour, shape, size, motion: words of the lists above.
        start: place in frame 0, (x, y) in pixels; the centre of the round for `circles`.
        velocity: (x, y) in pixels per frame; (radius in pixels, angle in radians) of frame 0 for `circles`.
    """

    colour: str
    shape: str
    size: str
    motion: str
    start: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)

    def track(self, frames: int = FRAMES, first: int = 0) -> tuple[Tensor, Tensor]:
        """Centres [T, 2] as (x, y) and radii [T], in pixels, of `frames` frames from frame `first` on."""
        t = torch.arange(first, first + frames, dtype=torch.float64)
        radius = torch.full_like(t, SIZES[self.size])
        start = torch.tensor(self.start, dtype=torch.float64)
        velocity = torch.tensor(self.velocity, dtype=torch.float64)
        if self.motion == "circles":
            angle = self.velocity[1] + 2 * math.pi * t / PERIOD
            return start + self.velocity[0] * torch.stack([angle.cos(), angle.sin()], 1), radius
        if self.motion == "grows":
            radius = radius * (0.65 + 0.75 * (t / (FRAMES - 1)).clamp(max=1))
        if self.motion == "stops":
            t = t.clamp(max=STOP)
        centres = start + t[:, None] * velocity
        if self.motion == "bounces":
            low, high = self.room
            centres[:, 1] = high - low - ((centres[:, 1] - low) % (2 * (high - low)) - (high - low)).abs() + low
        return centres, radius

    @property
    def room(self) -> tuple[float, float]:
        """Least and greatest coordinate of a centre, so that the thing stays in the picture."""
        margin = REACH * SIZES[self.size]
        return margin, SIDE - 1 - margin


@dataclass(frozen=True)
class Scene:
    """A background and one thing, or two: the first above the second."""

    background: str
    things: tuple[Thing, ...]

    @property
    def caption(self) -> str:
        """What is seen, in words."""
        first, *others = self.things
        if not others:
            return f"a {first.size} {first.colour} {first.shape} {first.motion} on a {self.background} background"
        told = " above ".join(f"a {thing.colour} {thing.shape} {thing.motion}" for thing in self.things)
        return f"{told} on a {self.background} background"

    def render(self, frames: int = FRAMES, first: int = 0) -> Tensor:
        """Frames `first` and following: [T, 64, 64, 3] in [0, 1]."""
        y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        light = 1.15 - 0.3 * y / (SIDE - 1)
        picture = (torch.tensor(BACKGROUNDS[self.background]) * light[..., None]).expand(frames, -1, -1, -1)
        for thing in self.things:
            centres, radii = (value.float()[..., None, None] for value in thing.track(frames, first))
            across, down = (x - centres[:, 0]) / radii, (y - centres[:, 1]) / radii
            cover = (0.5 - distance(thing.shape, across, down) * radii / EDGE).clamp(0, 1)[..., None]
            shaded = torch.tensor(COLOURS[thing.colour]) * (1 - 0.08 * down.clamp(-1, 1))[..., None]
            picture = picture + cover * (shaded - picture)
        return picture.clamp(0, 1)


def distance(shape: str, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the outline of a shape of about the area of the unit circle; negative inside."""

    def box(half_width, half_height):
        dx, dy = x.abs() - half_width, y.abs() - half_height
        return torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0)

    if shape == "circle":
        return torch.hypot(x, y) - 1
    if shape == "square":
        return box(0.89, 0.89)
    if shape == "cross":
        return torch.minimum(box(1.2, 0.4), box(0.4, 1.2))
    sides = torch.maximum(0.866 * x.abs() - 0.5 * y, y)  # an equilateral triangle that stands on a side
    return sides - 0.7


def held_out(thing: Thing) -> bool:
    """Whether the combination of colour, shape and motion is kept from training: 27 of 192."""
    return (list(COLOURS).index(thing.colour) + SHAPES.index(thing.shape) + MOTIONS.index(thing.motion)) % 7 == 0


def scene(seed: int, split: str = "train", things: int | None = None) -> Scene:
    """The scene of a seed.

    Args:
        seed: any integer; the same one gives the same scene.
        split: `train`, or `held-out` for combinations that no scene of `train` shows.
        things: 1 or 2; None for two in every fifth scene, on average.

    Raises:
        ValueError: for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"The split is `{split}`; it can be {' or '.join(SPLITS)}.")
    draw = random.Random(f"{split} {seed}")
    pair = draw.random() < 0.2 if things is None else things == 2
    while True:
        made = tuple(lane_thing(draw, height) for height in LANES.values()) if pair else (free_thing(draw),)
        wanted = any(map(held_out, made)) if split == "held-out" else not any(map(held_out, made))
        if wanted and len({thing.colour for thing in made}) == len(made):
            return Scene(draw.choice(list(BACKGROUNDS)), made)


def words(draw: random.Random, motions: tuple, sizes: tuple = tuple(SIZES)) -> dict:
    """Colour, shape, size and motion of a thing."""
    return {
        "colour": draw.choice(list(COLOURS)),
        "shape": draw.choice(SHAPES),
        "size": draw.choice(sizes),
        "motion": draw.choice(motions),
    }


def lane_thing(draw: random.Random, height: float) -> Thing:
    """A small thing that keeps to its height."""
    told = words(draw, LANE_MOTIONS, ("small",))
    return Thing(**told, **course(draw, told, (height - 1, height + 1)))


def free_thing(draw: random.Random) -> Thing:
    """A thing anywhere in the picture."""
    told = words(draw, MOTIONS)
    return Thing(**told, **course(draw, told, Thing(**told, start=(0, 0)).room))


def course(draw: random.Random, told: dict, height: tuple[float, float]) -> dict:
    """Start and velocity for the words of a thing, so that it stays in the picture for a clip."""
    motion = told["motion"]
    low, high = Thing(**told, start=(0, 0)).room
    middle, x, y = SIDE / 2, draw.uniform(low, high), draw.uniform(*height)
    if motion == "grows":
        high -= 0.4 * REACH * SIZES[told["size"]]
        return {"start": (min(max(x, SIDE - high), high), min(max(y, SIDE - high), high))}
    if motion == "bounces":
        speed, met = draw.uniform(1.2, 1.6), draw.uniform(*BOUNCE)
        return {"start": (x, high - speed * met), "velocity": (0.0, speed)}
    if motion == "circles":
        radius = draw.uniform(9, 12)
        slack = middle - low - radius
        centre = tuple(middle - 0.5 + draw.uniform(-slack, slack) for _ in range(2))
        return {"start": centre, "velocity": (radius, draw.uniform(0, 2 * math.pi))}
    length = STOP if motion == "stops" else FRAMES - 1
    speed = draw.uniform(1.2, 1.8) if motion == "stops" else draw.uniform(0.7, (high - low) / length)
    begin = draw.uniform(low, high - speed * length)  # in the direction of travel
    forwards = motion in ("moves right", "moves down") or (motion == "stops" and draw.random() < 0.5)
    begin, speed = (begin, speed) if forwards else (SIDE - 1 - begin, -speed)
    if motion in ("moves up", "moves down"):
        return {"start": (x, begin), "velocity": (0.0, speed)}
    return {"start": (begin, y), "velocity": (speed, 0.0)}
