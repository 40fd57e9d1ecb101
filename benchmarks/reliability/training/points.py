"""kill -9 at chosen points of a run: while it starts, in a step, in a save, in a validation, at its end.

A profile function of Python counts the calls and returns in the code of the trainer, and ends the process at one of them. Nothing
of the trainer is replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hosting.process import ROOT

from ..host import Bench
from ..kills import Child, finish, leftovers
from ..tally import Tally
from . import trained

PHASES = ("save", "step", "validation", "start", "end")
INSIDE = {("run.py", "step"): "step", ("saving.py", "save"): "save", ("watcher.py", "_validate"): "validation"}
CODE = tuple(str(ROOT / folder) + os.sep for folder in ("training", "pusa_model/storage"))


class Counter:
    """Counts events of the trainer's code, and notes in which part of the run each of them is.

    Args:
        kill: the event at which the process ends; None never.
    """

    def __init__(self, kill: int | None = None):
        self.kill, self.phases, self.inside, self.steps = kill, [], [], 0

    def __call__(self, frame, event: str, argument) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(CODE):
            return
        phase = INSIDE.get((os.path.basename(frame.f_code.co_filename), frame.f_code.co_name))
        if phase and event == "call":
            self.inside.append(phase)
        self.phases.append(PHASES.index(self.phase))
        if phase and event == "return":
            self.inside.pop()
            self.steps += phase == "step"
        if len(self.phases) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def phase(self) -> str:
        """The part of the run."""
        between = "start" if not self.steps else "step" if self.steps < trained.STEPS else "end"
        return self.inside[-1] if self.inside else between


def counted(common: Path, kill: int | None = None) -> Callable:
    """The run with its events counted; without ``kill`` their parts are written beside it."""

    def work(place: Path, begin: Callable) -> None:
        counter = Counter(kill)
        begin()
        sys.setprofile(counter)
        code = trained.run(common, place)
        sys.setprofile(None)
        place.with_suffix(".phases").write_bytes(bytes(counter.phases))
        if code:
            raise SystemExit(code)

    return work


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Kill a run once for each number, the parts of a run in turns, and let it go on."""
    if not hasattr(os, "fork"):
        tally.notes.append("not tried: this system has no fork")
        return
    with tempfile.TemporaryDirectory(prefix="pusa-points-") as folder:
        found = trained.undisturbed(bench, tally, Path(folder), counted)
        if found is None:
            return
        common, reference = found
        phases = reference.with_suffix(".phases").read_bytes()
        for number in numbers:
            phase = number % len(PHASES)
            events = [index for index, each in enumerate(phases, 1) if each == phase]
            place = Path(folder) / f"item{number}"
            place.mkdir()
            child = Child(counted(common, tally.random(number).choice(events)), place)
            child.wait_for_work()
            if child.wait():
                tally.fault("crash", number, f"the run has ended before its point in {PHASES[phase]}")
            tally.tried += 1
            _judge(tally, number, common, place, reference)
            shutil.rmtree(place)
        counts = ", ".join(f"{list(phases).count(index)} {name}" for index, name in enumerate(PHASES))
        tally.notes.append(f"events to be killed at: {counts}")


def _judge(tally: Tally, number: int, common: Path, place: Path, reference: Path) -> None:
    for words in trained.halves(place, reference):
        tally.fault("silent", number, f"not whole after the kill: {words}")
    good, _, printed = finish(trained.work(common), place)
    if not good:
        tally.fault("crash", number, f"the next run fails:\n{printed[-1500:]}")
    elif other := trained.differing(place, reference):
        tally.fault("silent", number, f"other bits than the undisturbed run: {other}")
    if left := leftovers(place):
        tally.fault("lost", number, f"left over after the next run: {left}")
