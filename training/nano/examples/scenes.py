"""What the demos are given: a scene for each task, told apart by shape, colour, course and background, and parts of it as files.

The pictures and clips of a scene lie in assets/nano/input, its words in assets/nano/models/prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from .. import world
from ..world import Scene, Thing

BALL = world.scene(198, "held-out", things=1)  # of image to video, and of all graphs that name no other
WAYS = ("right", "down", "left", "up")  # that its thing goes in further prompts, for a clip of many hops
BEGINS, ENDS = slice(0, 13), slice(24, 33)


@dataclass(frozen=True)
class Shown:
    """A scene of a demo.

    Attributes:
        pictures: {name of a file without suffix: its frame}.
        clips: {name of a file without suffix: its frames}.
    """

    scene: Scene
    pictures: dict[str, int] = field(default_factory=dict)
    clips: dict[str, slice] = field(default_factory=dict)


def alone(background: str, size: str, colour: str, shape: str, motion: str, start: tuple, velocity: tuple) -> Scene:
    """A scene of one thing."""
    return Scene(background, (Thing(colour, shape, size, motion, start, velocity),))


MIDDLE = (31.5, 31.5)
SHOWN = {
    "positive": Shown(BALL, {f"nano_{frame:02}": frame for frame in (0, 16, 32)}, {"nano_begins": BEGINS, "nano_ends": ENDS}),
    "t2v": Shown(alone("teal", "large", "purple", "triangle", "circles", MIDDLE, (12.0, 0.0))),
    "start_end": Shown(
        Scene(
            "grey",
            (
                Thing("red", "triangle", "small", "moves right", (11.0, 17.0), (1.3, 0.0)),
                Thing("blue", "square", "small", "moves left", (52.0, 47.0), (-1.3, 0.0)),
            ),
        ),
        {"nano_start": 0, "nano_end": 32},
    ),
    "keyframes": Shown(
        alone("brown", "large", "white", "circle", "circles", MIDDLE, (12.0, math.radians(150))),
        {"nano_key_1": 0, "nano_key_2": 16, "nano_key_3": 32},
    ),
    "completion": Shown(
        alone("dark", "large", "green", "square", "stops", (14.0, 31.5), (1.7, 0.0)),
        clips={"nano_middle_begins": slice(0, 9), "nano_middle_ends": ENDS},
    ),
    "extend": Shown(
        alone("teal", "large", "white", "triangle", "moves up", (31.5, 50.0), (0.0, -1.0)), clips={"nano_goes_on": BEGINS}
    ),
    "prepend": Shown(
        alone("grey", "large", "red", "square", "moves left", (50.0, 31.5), (-1.15, 0.0)), clips={"nano_came_from": ENDS}
    ),
    "transition": Shown(
        alone("brown", "large", "yellow", "triangle", "bounces", (31.5, 26.0), (0.0, 1.45)),
        clips={"nano_from": BEGINS, "nano_to": ENDS},
    ),
    "loop": Shown(
        alone("dark", "large", "purple", "circle", "circles", MIDDLE, (12.0, math.radians(90))), clips={"nano_round": slice(0, 33)}
    ),
}
"""By the name of the stored prompt, which is that of its graph's task but for the ball."""


def captions() -> dict[str, str]:
    """{name of the file of a stored prompt: its words}."""
    (thing,) = BALL.things
    ways = {way: replace(BALL, things=(replace(thing, motion=f"moves {way}"),)).caption for way in WAYS}
    words = {name: shown.scene.caption for name, shown in SHOWN.items()} | {"negative": ""} | ways
    return {f"nano_{name}.safetensors": caption for name, caption in words.items()}
