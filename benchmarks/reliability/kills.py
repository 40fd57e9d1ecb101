"""Writers that are killed at a random point: the next run works, and what was finished is still there.

A writer runs in a forked child, which loads the pack itself, as each start of ComfyUI does; Python, PyTorch and ComfyUI are
loaded once in the parent. It says when its work begins, and is killed within the time that the whole work takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from .host import Bench
from .material.victims import VICTIMS, Victim
from .tally import Tally

LONGEST = 120.0  # seconds for one run of a writer


class Child:
    """A forked process at work in a folder; what it prints goes to ``log`` beside the folder."""

    def __init__(self, work: Callable, place: Path):
        self.log = place.with_suffix(".log")
        ready, began = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(ready)
            _child(work, place, self.log, began)
        os.close(began)
        self._ready = ready

    def wait_for_work(self) -> None:
        """Return when the work begins, or the child has ended without."""
        os.read(self._ready, 1)
        os.close(self._ready)

    def kill(self) -> None:
        """SIGKILL, as the system does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def wait(self) -> bool:
        """Wait for the end; whether it was a good one. A child that hangs is killed."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status == 0
            time.sleep(0.01)
        self.kill()
        return False


def _child(work: Callable, place: Path, log: Path, began: int) -> None:
    code = 1
    try:
        with open(log, "w", encoding="utf-8") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        work(place, lambda: os.write(began, b"!"))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # without the clean-up of the parent's open things


def finish(work: Callable, place: Path) -> tuple[bool, float, str]:
    """Run a writer to its end: (whether it ended well, seconds of its work, what it printed)."""
    child = Child(work, place)
    child.wait_for_work()
    began = time.monotonic()
    good = child.wait()
    return good, time.monotonic() - began, child.log.read_text(encoding="utf-8", errors="replace")


def files(place: Path) -> dict[str, Path]:
    """Every file of a folder by its path in there."""
    return {str(path.relative_to(place)): path for path in sorted(place.rglob("*")) if path.is_file()}


def hashes(place: Path) -> dict[str, str]:
    """The content of every file of a folder."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files(place).items()}


def leftovers(place: Path) -> list[str]:
    """Files that nobody finished: parts, and frames of a process that is gone."""
    return [name for name in files(place) if name.endswith(".part") or Path(name).name.startswith("pusa_frames_")]


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Kill the writer that the row is named after once for each number, and run it again."""
    if not hasattr(os, "fork"):
        tally.notes.append("not tried: this system has no fork")
        return
    victim = VICTIMS[tally.name]
    with tempfile.TemporaryDirectory(prefix="pusa-kills-") as folder:
        common = Path(folder) / "common"
        shutil.copytree(bench.base / "models", common)
        work = victim.make(common)
        reference = Path(folder) / "reference"
        reference.mkdir()
        good, seconds, printed = finish(work, reference)
        if not good:
            tally.fault("crash", -1, f"it does not run without a kill:\n{printed[-1500:]}")
            return
        finished = 0
        for number in numbers:
            place = Path(folder) / f"item{number}"
            place.mkdir()
            with contextlib.suppress(ProcessLookupError):
                child = Child(work, place)
                child.wait_for_work()
                time.sleep(tally.random(number).uniform(0, seconds))
                child.kill()
            tally.tried += 1
            finished += _judge(tally, number, victim, work, place, reference)
            shutil.rmtree(place)
    tally.notes.append(f"{finished} finished parts were there after the kills")


def _judge(tally: Tally, number: int, victim: Victim, work: Callable, place: Path, reference: Path) -> int:
    """Look at what a killed writer left, run it again and look once more; returns how much was finished."""
    wanted = hashes(reference)
    for name, digest in hashes(place).items():
        if victim.exact(name) and wanted.get(name) != digest:
            tally.fault("silent", number, f"{name} is not whole after the kill")
    before = {name: path.stat().st_ino for name, path in files(place).items() if victim.kept(name)}
    known = victim.progress(place)
    good, _, printed = finish(work, place)
    if not good:
        tally.fault("crash", number, f"the next run fails:\n{printed[-1500:]}")
        return len(before)
    found = hashes(place)
    for name, digest in wanted.items():
        if victim.exact(name) and found.get(name) != digest:
            tally.fault("silent", number, f"{name} is {'another' if name in found else 'missing'} after the next run")
    again = [name for name, path in files(place).items() if name in before and path.stat().st_ino != before[name]]
    if again or victim.redone(known, printed):
        tally.fault("lost", number, f"done again: {again or victim.redone(known, printed)}")
    if left := leftovers(place):
        tally.fault("lost", number, f"left over after the next run: {left}")
    return len(before)
