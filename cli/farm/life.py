"""One ComfyUI in a folder of its own, from its start to its end."""

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from ..graph.filling import UPLOADS
from ..server import ComfyServer, ServerDied

LINKED = ("models", "custom_nodes")
EMPTIED = ("output", "temp", f"input/{UPLOADS}", "given")
PARENT = "pusa-farm"
LAST = 5  # lines of a log


class Life:
    """A ComfyUI that this process owns, with a base folder of its own that goes with it.

    Models and custom nodes are those of the folder of ComfyUI, and so is what lies in its input folder.

    Args:
        comfyui, python: its folder, and its Python.
        extra: flags of ComfyUI.
        wanted: asked while it starts; when it says no, the start is given up.

    Attributes:
        base: the base folder. given: a folder for files that go to the server.
    """

    def __init__(self, comfyui: str, python: str, extra: list, wanted: Callable[[], bool]):
        self.comfyui, self._lock, self.server = Path(comfyui), None, None
        self.base = self._make_base()
        self.given = self.base / "given"
        try:
            server = ComfyServer(python, self.comfyui, self.base, extra_args=extra, tied=True, wanted=wanted)
            self.server = server.__enter__()
        except BaseException:
            self.end()
            raise

    def clean(self) -> None:
        """Remove what jobs have left: given files, uploads, outputs and previews."""
        for name in EMPTIED:
            with contextlib.suppress(FileNotFoundError):
                for path in (self.base / name).iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def last_words(self) -> str:
        """The end of the log of a ComfyUI that ended by itself; "" where it did not."""
        if not self.server.ended():
            return ""
        return "\nThe end of its log:\n" + "\n".join(self.server.log_text().splitlines()[-LAST:])

    def end(self) -> None:
        """Stop ComfyUI and remove its folder."""
        if self.server:
            self.server.stop()
        remove(self.base)
        self._lock.close()

    def _make_base(self) -> Path:
        parent = Path(tempfile.gettempdir()) / f"{PARENT}-{os.getuid() if hasattr(os, 'getuid') else 0}"
        parent.mkdir(mode=0o700, exist_ok=True)
        base = parent / uuid.uuid4().hex[:12]
        with locked(parent / "lock"):
            sweep(parent)
            base.mkdir()
            self._lock = hold(base / "lock")
        for name in EMPTIED:
            (base / name).mkdir(parents=True)
        for name in LINKED:
            (base / name).symlink_to((self.comfyui / name).resolve(), target_is_directory=True)
        there = self.comfyui / "input"
        for path in there.iterdir() if there.is_dir() else ():
            if path.name != UPLOADS:
                (base / "input" / path.name).symlink_to(path.resolve())
        return base


def check(comfyui: str, python: str) -> None:
    """Refuse what is not there: the folder of ComfyUI, or its Python."""
    if sys.platform == "win32":
        raise ServerDied("a worker needs Linux or macOS")
    if not (Path(comfyui) / "main.py").is_file():
        raise ServerDied(f"there is no ComfyUI at {comfyui} (--comfyui)")
    if not shutil.which(python):
        raise ServerDied(f"there is no Python at {python} (--comfyui_python)")


def sweep(parent: Path) -> None:
    """Remove the folders whose owner is dead: their lock is free."""
    for base in parent.iterdir():
        if base.is_dir() and (lock := hold(base / "lock")):
            remove(base)
            lock.close()


def remove(base: Path) -> None:
    """Remove a base folder, but nothing that it links to."""
    shutil.rmtree(base, ignore_errors=True)


def hold(path: Path, wait: bool = False):
    """An open file that is locked for as long as this process lives or it is open; None where another holds it."""
    file = open(path, "w", encoding="utf-8")
    import fcntl  # not on Windows

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def locked(path: Path):
    """Hold a lock for the time of a block, once it is free."""
    with hold(path, wait=True):
        yield
