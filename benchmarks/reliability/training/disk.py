"""The disk is full at each write of a run: by a limit of the system on the size of a file, and on a small file system.

The limit is one byte below the size of a file that the run writes, so that this file and larger ones fail at their last byte. A
tmpfs that holds the first so many bytes fails wherever it is full; it needs the right to mount.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..host import Bench
from ..kills import Child, files, finish, leftovers
from ..tally import Tally
from . import trained

MOUNTED = 3  # of so many items one is on a small file system
PIPE = 2**20


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Let a run meet a full disk once for each number, and go on where there is room."""
    resource = _resource()
    if resource is None or not hasattr(os, "fork"):
        tally.notes.append("not tried: this system has no limit on the size of a file")
        return
    with tempfile.TemporaryDirectory(prefix="pusa-disk-") as folder:
        found = trained.undisturbed(bench, tally, Path(folder))
        if found is None:
            return
        common, reference = found
        sizes = sorted({path.stat().st_size for path in files(reference).values()})
        limits, small = 0, 0
        for number in numbers:
            place = Path(folder) / f"item{number}"
            place.mkdir()
            draws = tally.random(number)
            with _mounted(place, draws.randrange(4096, 2 * sum(sizes))) if number % MOUNTED == 2 else _plain() as mounted:
                limit = None if mounted else sizes[(number - number // MOUNTED) % len(sizes)] - 1
                limits, small = limits + (limit is not None), small + bool(mounted)
                tally.tried += 1
                _full(tally, number, _limited(common, limit, resource), place, reference)
                if mounted:
                    subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
                _with_room(tally, number, common, place, reference)
            shutil.rmtree(place)
        tally.notes.append(f"{limits} by the size of a file, {small} on a small file system")


def _resource():
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource


@contextlib.contextmanager
def _plain() -> Iterator[bool]:
    yield False


@contextlib.contextmanager
def _mounted(place: Path, size: int) -> Iterator[bool]:
    """A file system of so many bytes at a folder; False if it may not be mounted."""
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    except OSError:
        done = None
    mounted = done is not None and done.returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _limited(common: Path, limit: int | None, resource) -> Callable:
    def work(place: Path, begin: Callable) -> None:
        begin()
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if code := trained.run(common, place):
            raise SystemExit(code)

    return work


def _full(tally: Tally, number: int, work: Callable, place: Path, reference: Path) -> None:
    """Run without room: it says so, and nothing that is half written is taken as whole."""
    reader, writer = os.pipe()  # what it prints is no file, so the limit does not hold for it
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)

    def piped(place: Path, begin: Callable) -> None:
        os.close(reader)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        try:
            work(place, begin)
        except SystemExit as stop:  # an error in words, which is no traceback
            sys.stdout.flush()
            os._exit(stop.code)

    child = Child(piped, place)
    os.close(writer)
    child.wait_for_work()
    with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
        printed = pipe.read()
    good = child.wait()
    told = any(words in printed for words in ("cannot be written", "could not be written", "Make space"))
    if "Traceback" in printed:
        tally.fault("crash", number, f"it ends with a traceback:\n{printed[-1500:]}")
    elif not told and (not good or trained.differing(place, reference)):
        tally.fault("silent", number, f"nothing is said of the full disk:\n{printed[-1500:]}")
    for words in trained.halves(place, reference):
        tally.fault("silent", number, f"not whole on a full disk: {words}")
    if left := leftovers(place):
        tally.fault("lost", number, f"left over: {left}")


def _with_room(tally: Tally, number: int, common: Path, place: Path, reference: Path) -> None:
    """Go on with room: all that is not there is made, but for the files of steps that are past."""
    good, _, printed = finish(trained.work(common), place)
    if not good:
        tally.fault("crash", number, f"it does not go on with room:\n{printed[-1500:]}")
        return
    last = f"_step{trained.STEPS:05}.safetensors"
    wanted = next(path for path in (reference / trained.OUT).iterdir() if path.name.endswith(last))
    found = place / trained.OUT / wanted.name
    if not found.exists() or found.read_bytes() != wanted.read_bytes():
        tally.fault("lost", number, f"{wanted.name} is {'another' if found.exists() else 'missing'} after it went on with room")
