"""Schedules beside each other: frames that go together or one after the other, and a frame that waits at its level."""

from __future__ import annotations

from collections.abc import Callable

from ..measure.report import Table
from .bench import SHARES, Bench, percent

ONE_BY_ONE = 100  # a lag of more steps than there are
SCHEDULES = {
    "together": ("scaled", 0, 1),
    "lag 1": ("delay", 1, 1),
    "lag 2": ("delay", 2, 1),
    "lag 4": ("delay", 4, 1),
    "blocks of 3, lag 1": ("delay", 1, 3),
    "blocks of 3, one after the other": ("delay", ONE_BY_ONE, 3),
}
LEVELS = (0.3, 0.7)  # of a picture that is held, or goes with all
NOTE = "*Largest change*: the greatest mean difference of neighbouring frames over the median one, the middle clip of all."


def drawn(bench: Bench, task, given: Callable, kind: str, lag: int = 0, block: int = 1):
    """Videos of a schedule on the sampler's own grid, and the steps that it took.

    Args:
        given: from a range of scene numbers to the condition without a schedule.
    """
    grid = bench.schedulers.flow_match_sigmas(bench.setting.steps, bench.setting.shift)
    recipe = bench.schedulers.Recipe(kind, lag, block, "forward", tuple(grid.tolist()))

    def planned(numbers: range):
        return given(numbers).with_recipe(recipe)

    videos = bench.codec.decode(bench.model().clips(task.scenes, planned, bench.setting))
    return videos, len(planned(range(1)).clock()) - 1


def by_schedule(bench: Bench, title: str, task, given: Callable) -> Table:
    """A row for each schedule: what the clips show, and how evenly they go on."""
    rows = []
    for name, schedule in SCHEDULES.items():
        videos, steps = drawn(bench, task, given, *schedule)
        even = bench.evaluate.largest_change(videos).median().item()
        rows.append([name, str(steps), *percent(bench.evaluate.agreement(task.scenes, videos)), f"{even:.2f}"])
    return bench.table(title, ["frames go", "steps", *SHARES, "largest change"], rows, NOTE)


def words_by_schedule(bench: Bench) -> Table:
    """Text to video."""
    task = bench.evaluate.Task(bench.codec, bench.count)
    return by_schedule(bench, "Text to video by schedule", task, lambda numbers: bench.evaluate.nothing())


def picture_by_schedule(bench: Bench) -> Table:
    """Image to video."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    return by_schedule(bench, "Image to video by schedule, noise 0", task, task.keyframes([0], [0.0], "still"))


def waiting(bench: Bench) -> Table:
    """A first frame that waits at its level, beside one that goes down with all from the same level."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    rows = []
    for level in LEVELS:
        given = task.keyframes([0], [level], "still")
        for kind in ("scaled", "hold"):
            videos, _ = drawn(bench, task, given, kind)
            first = f"{bench.evaluate.psnr(videos[:, 0], task.videos[:, 0]):.1f} dB"
            rows.append([f"{level:g}", kind, first, *percent(bench.evaluate.agreement(task.scenes, videos))])
    return bench.table("Image to video: a picture that waits at its noise", ["noise", "kind", "first frame", *SHARES], rows)
