"""Long clips: a window that rolls along beside Extend Video and one call for the whole clip."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from hosting.process import pack_module

from ..extend import DEFAULT, MOTIONS, NEW
from ..extend import Bench as Long
from ..measure.peaks import allocated
from ..measure.report import Limit, Table
from .bench import Bench

LENGTHS = (97, 321)
SCENES = 12
SECOND, PIECE = 16, 33  # frames: a second, and a clip as the model was trained on
WINDOWS = {
    "rolling, window 9": (9, 1),
    "rolling, window 9, block 3": (9, 3),
    "rolling, window 21": (21, 1),
}
NOTE = (
    "Scenes of a thing that {motion}, by words alone: it never leaves the picture. Extend Video goes on from a clip of 33 frames "
    "that words made. *Colour*, *shape*: right by the whole clip / by its last second. *Motion*: right in pieces of 33 frames, the "
    "length of the training. *Largest change*: the greatest mean difference of neighbouring frames over the median one, mean of "
    "the clips. *Drift*: distance of the colours of the last second from those of the first, thing or background, the farther one, "
    "in 255ths. *Time*: of one clip with its decoding, one run beside whatever else ran, and its ratio to Extend Video. "
    "*Peak*: the most bytes that PyTorch gives out at once in a call of the network for one clip; the clip itself, as a latent, is "
    "held beside it. Window 9 is the length of the training, 21 the default of the node."
)


def one_call(long: Long, scenes: list, frames: int) -> torch.Tensor:
    """A latent of the whole clip, all frames together."""
    setting = long.evaluate.Setting(steps=long.settings["steps"])
    return long.codec.decode(long.nano.clips(scenes, None, setting, 1 + frames // 4))


def extended(long: Long, scenes: list, frames: int) -> torch.Tensor:
    """Hop by hop from a clip of 33 frames; nothing is known from another run."""
    first, hops = one_call(long, scenes, PIECE), -(-(frames - PIECE) // NEW)
    with tempfile.TemporaryDirectory() as folder:
        long.frames_room.folder_paths.set_temp_directory(folder)
        made = [long.by_frames(scene, video, DEFAULT, 0.0, hops)[:frames] for scene, video in zip(scenes, first)]
    return torch.stack(made)


def rolled(long: Long, scenes: list, frames: int, window: int, block: int) -> torch.Tensor:
    """Through a window."""
    positive, negative = long.evaluate.Model.prompts(scenes)
    samples = pack_module("pusa_model.rolling").sample_rolling(
        long.model,
        [positive],
        negative,
        {"samples": torch.zeros(len(scenes), 16, 1, 8, 8)},
        seed=0,
        length=frames,
        window=window,
        steps=long.settings["steps"],
        block=block,
        cfg=long.settings["cfg"],
        shift=long.settings["shift"],
        warn=lambda text: None,
    )["samples"]
    return long.codec.decode(samples)


@dataclass
class Calls:
    """Calls of a network in a run: how many, of how many latent frames at most, and the peak in bytes of the one measured."""

    count: int = 0
    frames: int = 0
    peak: int | None = None


@contextmanager
def watched(network: torch.nn.Module, measured: int) -> Iterator[Calls]:
    """Count what the network itself is called with, behind all wrappers, and measure the call of this number, from 0."""
    inner, calls = network._forward, Calls()

    def forward(x, *args, **kwargs):
        number, result = calls.count, []
        calls.count, calls.frames = number + 1, max(calls.frames, x.shape[2])
        if number != measured:
            return inner(x, *args, **kwargs)
        calls.peak = allocated(lambda: result.append(inner(x, *args, **kwargs)))
        return result[0]

    network._forward = forward
    try:
        yield calls
    finally:
        del network._forward


class Seen:
    """What long clips [N, T, 64, 64, 3] show."""

    def __init__(self, long: Long, scenes: list, videos: torch.Tensor):
        look, self.rows = long.measure.look, []
        pieces = range(0, videos.shape[1] - PIECE + 1, PIECE - 1)
        changes = long.evaluate.largest_change(videos).tolist()
        for scene, video, change in zip(scenes, videos, changes):
            (thing,), whole, last = scene.things, look(video)[0], look(video[-SECOND:])[0]
            moved = [look(video[first : first + PIECE])[0].motion == thing.motion for first in pieces]
            drift = long.evaluate.drift(video[-SECOND:], long.evaluate.palette(video[:SECOND]))
            right = [getattr(seen, word) == getattr(thing, word) for word in ("colour", "shape") for seen in (whole, last)]
            self.rows.append([*right, statistics.fmean(moved), change, drift])

    @property
    def cells(self) -> list[str]:
        """Means over the clips."""
        *shares, change, drift = (statistics.fmean(column) for column in zip(*self.rows))
        colour, colour_last, shape, shape_last, motion = (f"{100 * share:.0f}" for share in shares)
        return [f"{colour} / {colour_last} %", f"{shape} / {shape_last} %", f"{motion} %", f"{change:.2f}", f"{drift:.1f}"]


def ways() -> dict[str, Callable]:
    """How a long clip is made: (bench, scenes, frames) to videos."""
    rolls = {name: partial(rolled, window=window, block=block) for name, (window, block) in WINDOWS.items()}
    return {"Extend Video": extended, "one call": one_call, **rolls}


def made(long: Long, make: Callable, frames: int) -> tuple[torch.Tensor, float, Calls]:
    """Videos of all scenes, seconds of the first, and the calls of the network for it."""
    with watched(long.model.model.diffusion_model, measured=1) as calls:
        began = time.perf_counter()
        videos = make(long, long.scenes[:1], frames)
        seconds = time.perf_counter() - began
    others = long.scenes[1:]
    return torch.cat([videos, make(long, others, frames)]) if others else videos, seconds, calls


def rolling(bench: Bench, lengths: tuple[int, ...] = LENGTHS, by: dict[str, Callable] | None = None) -> Table:
    """A row for each length and way; the peak of a window's call must not grow with the length.

    Args:
        by: ways, of those of ``ways``; None takes all.
    """
    long = Long(min(bench.count, SCENES), steps=bench.setting.steps, folder=bench.folder)
    chosen, rows, peaks = by or ways(), [], {}
    for frames in lengths:
        true = torch.stack([scene.render(frames) for scene in long.scenes])
        rows.append([str(frames), "the true course", "", *Seen(long, long.scenes, true).cells, "", ""])
        base = None
        for name, make in chosen.items():
            videos, seconds, calls = made(long, make, frames)
            shown = Seen(long, long.scenes, videos).cells
            base, peaks[name, frames] = base or seconds, calls.peak
            told = f"{calls.count} of {calls.frames}"
            rows.append(
                [str(frames), name, told, *shown, f"{seconds:.1f} s, {seconds / base:.2f}", f"{calls.peak / 2**20:.1f} MiB"]
            )
    first, *_, last = lengths
    what = f"peak of a call, {last} / {first} frames"
    limits = [Limit(f"{name}: {what}", peaks[name, last] / peaks[name, first], 1.05) for name in chosen if name in WINDOWS]
    heads = ["frames", "", "calls", "colour", "shape", "motion", "largest change", "drift", "time", "peak"]
    title = "Long clips: rolling, Extend Video, and one call"
    return bench.table(title, heads, rows, NOTE.format(motion=MOTIONS[0]), limits, len(long.scenes))
