"""A beginning that goes on, whose given frames are noised once, in the first step or in every step: joins, motion, colours."""

from __future__ import annotations

import torch

from ..extend import rms
from ..measure.report import Table
from .bench import MOVING, Bench

WAYS = {
    "0": (0.0, "once"),
    "0.2, once": (0.2, "once"),
    "0.2, 1 step": (0.2, "steps"),
    "0.2, always": (0.2, "always"),
    "0.02, always": (0.02, "always"),
}
BEFORE, NEW = 13, 20  # frames that a window is given, frames that it adds
HOPS, CHAINED = 4, 20  # windows one after the other, and clips that go through them
NOTE = (
    "13 true frames, and windows of 33 that each go on from the last 13 frames before them. *Steps*: how far the step of the thing "
    "from one frame to the next is from the true one, over the joins and elsewhere, root mean square. *Place*: mean distance from "
    "the true one, {ends}. *Colours*: how far those of background or thing are from those of the true frames, the farther one, in "
    "255ths, in the ten frames there."
)


def grown(bench: Bench, task, noise: float, choice: str, hops: int) -> torch.Tensor:
    """Clips [N, 13 + 20 hops, 64, 64, 3] that go on from the first 13 true frames."""
    videos, rows = task.videos[:, :BEFORE], bench.renoise.rows_of(choice, 1)
    for hop in range(hops):
        given = task.going_on(videos[:, -BEFORE:], [noise] * 4, rows)
        setting = bench.evaluate.Setting(steps=bench.setting.steps, seed=1000 * hop)
        drawn = bench.codec.decode(bench.model().clips(task.scenes, given, setting))
        videos = torch.cat([videos, drawn[:, BEFORE:]], dim=1)
    return videos


class Judged:
    """How far extended clips are from the true course.

    Attributes:
        joins, inside: error of the steps from a frame to the next, over a join and elsewhere; pixels.
        places, colours: of each clip at the end of the first and of the last window; pixels, 255ths.
    """

    def __init__(self, bench: Bench, hops: int):
        self.evaluate, self.hops = bench.evaluate, hops
        self.joins, self.inside, self.places, self.colours = [], [], [], []

    def add(self, found: torch.Tensor, wanted: torch.Tensor) -> None:
        """Judge a clip [13 + 20 hops, 64, 64, 3] beside its true course."""
        error = self.evaluate.measure.look(found)[0].track - self.evaluate.measure.look(wanted)[0].track
        steps = error.diff(dim=0).norm(dim=1)
        joins = range(BEFORE - 1, len(steps), NEW)
        self.joins += [steps[place].item() for place in joins]
        self.inside += [steps[place].item() for place in range(BEFORE, len(steps)) if place not in joins]
        ends, colours = (BEFORE + NEW, len(found)), self.evaluate.palette(wanted[:BEFORE])
        self.places.append([error[end - 1].norm().item() for end in ends])
        self.colours.append([self.evaluate.drift(found[end - NEW // 2 : end], colours) for end in ends])

    @property
    def cells(self) -> list[str]:
        """Steps, places and colours; the last two at both ends where there is more than one window."""
        ends = [torch.tensor(each).nanmean(0).tolist()[: min(self.hops, 2)] for each in (self.places, self.colours)]
        places, colours = (" / ".join(f"{value:.1f}" for value in each) for each in ends)
        return [f"{rms(self.joins):.2f} / {rms(self.inside):.2f} px", f"{places} px", colours]


def extended(bench: Bench, title: str, task, hops: int) -> Table:
    """A row for each way."""
    true, rows = [scene.render(BEFORE + hops * NEW) for scene in task.scenes], []
    for name, way in WAYS.items():
        judged = Judged(bench, hops)
        for found, wanted in zip(grown(bench, task, *way, hops), true):
            judged.add(found, wanted)
        rows.append([name, *judged.cells])
    ends = "at the end of the window" if hops == 1 else "at the end of the first and of the last window"
    heads = ["noise, renoise", "steps over joins / elsewhere", "place", "colours"]
    return bench.table(title, heads, rows, NOTE.format(ends=ends), clips=len(task.scenes))


def one_window(bench: Bench) -> Table:
    """All motions, one window."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1, motions=MOVING)
    return extended(bench, "Extension from 13 frames by renoise", task, 1)


def many_windows(bench: Bench, hops: int = HOPS) -> Table:
    """Rounds, which never end, and several windows."""
    task = bench.evaluate.Task(bench.codec, min(bench.count, CHAINED), things=1, motions=("circles",))
    return extended(bench, f"Extension by renoise, {hops} windows, a thing that circles", task, hops)
