"""One set-up at a time."""

import contextlib
import os
import time
from pathlib import Path

from .console import Ticker

try:
    import fcntl
except ImportError:
    import msvcrt

    def _try_lock(file) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:

    def _try_lock(file) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def exclusive(path: Path, waiting: str = "Another set-up is at work in the same cache; waiting for it"):
    """Hold `path` as a lock, waiting in sight for whoever has it.

    The operating system drops the lock with the processes that held it, so a killed set-up never blocks the next.
    Commands of the set-up inherit it: one that outlives its parent for a moment still keeps the next away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        os.set_inheritable(file.fileno(), True)
        ticker = None
        while True:
            try:
                _try_lock(file)
                break
            except OSError:
                ticker = ticker or Ticker(waiting)
                ticker.tick("")
                time.sleep(0.5)
        if ticker:
            ticker.end("free")
        yield
