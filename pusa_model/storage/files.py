"""Files that are whole or not there: written beside their place under a lock, and moved there once they are on the disk.

A part file is locked for as long as its writer lives, and the system frees the lock however the writer ends. So a part whose
lock is free is what a killed writer left, on whichever machine, and the next writer into the folder removes it. Windows needs
no lock: it lets nobody remove a file that is open. Of a folder (``folders.py``) the lock is a file in it.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ...schedulers import InputError
from ...schedulers.grammar import shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"  # in a folder that is a part
_PART = re.compile(r"\..*\.pusa-[0-9a-f]{16}\.part", re.DOTALL)
_OLD_PART = re.compile(r".+\.([1-9][0-9]{0,9})\.part", re.DOTALL)  # version 0.2.0: the number is the process
_OLD_AGE = 600  # seconds without a write before a part of version 0.2.0 can be abandoned: its process may be on another machine
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REASONS = {
    errno.EFBIG: "the disk takes no file of this size",
    errno.EROFS: "the folder is read-only",
    errno.EACCES: "the folder cannot be written to",
    errno.EPERM: "the folder cannot be written to",
    errno.ENAMETOOLONG: "its name is longer than the disk takes",
    errno.EINVAL: "its name has characters that the disk does not take",
    errno.EILSEQ: "its name has characters that the disk does not take",
    errno.ENOTDIR: "a file is where its folder should be",
    errno.EEXIST: "a file is where its folder should be",
    errno.EISDIR: "a folder has its name",
}


def write_whole(path: Path, write: Callable[[BinaryIO], None], label: str = "", size: int = 0) -> None:
    """Write a file beside its place, and move it there once it is complete and on the disk.

    Its folder is made; what killed writers left in the folder is removed. The mode is what the umask gives.

    Args:
        path: of the file; one that is there is replaced.
        write: puts the content into the open file, at any positions; what it raises leaves nothing behind.
        label: how the reader of an error knows the file; its name if empty.
        size: bytes that will be written, where they are known: then too small a disk is refused before anything is written.

    Raises:
        InputError: the file cannot be written there, with the reason in words.
    """
    label = label or path.name
    make_folder(path, label)
    part, out = beside(path), None
    try:  # from before there is a part on, since a signal can end it anywhere
        try:
            remove_abandoned(path.parent)
            check_space(path.parent, size)
            out = new_part(part)
        except OSError as error:
            raise in_words(error, path, label, size) from error
        write(out)
        out.sync()
        if fcntl is None:
            out.close()
        out.move(path)
    except Exception as error:
        if out is None or out.error is None:
            raise
        raise in_words(out.error, path, label, size) from error
    finally:
        if out is not None:
            out.close()
        part.unlink(missing_ok=True)


def make_folder(path: Path, label: str) -> None:
    """Make the folder of a file that will be written.

    Raises:
        InputError: it cannot be made, or the file cannot have this name.
    """
    try:
        _check_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise in_words(error, path, label) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the part files of writers that are gone; those of living writers, and where it cannot be told, stay."""
    for path in [Path(entry.path) for entry in os.scandir(folder) if is_part(entry.name)]:
        try:
            if _PART.fullmatch(path.name):
                _remove_unlocked_folder(path) if path.is_dir() else _remove_unlocked(path)
            elif _old_is_abandoned(path):
                path.unlink()
        except OSError:  # somebody else's, or removed meanwhile
            continue


def beside(path: Path) -> Path:
    """The name of a part of a file or folder."""
    return path.with_name(f".{path.name[:40]}.pusa-{secrets.token_hex(8)}.part")


def is_part(name: str) -> bool:
    """Whether a file name is that of an unfinished file of this pack."""
    return bool(_PART.fullmatch(name) or _OLD_PART.fullmatch(name))


def lock(file: io.IOBase, wait: bool) -> bool:
    """Hold an open file until it is closed; False if another holds it, or the file system has no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    except OSError:
        return False


class Part(io.FileIO):
    """An open part file, without a buffer. It remembers the first error of the disk, which not every writer passes on."""

    error: OSError | None = None

    def write(self, data) -> int:
        """Write all of the data, at once."""
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else view[:0]
        size = len(view)
        while view:
            view = view[self._noted(super().write, view) :]
        return size

    def sync(self) -> None:
        """Bring it to the disk."""
        self._noted(os.fsync, self.fileno())

    def move(self, path: Path) -> None:
        """Bring it to its place."""
        self._noted(os.replace, self.name, path)

    def _noted(self, action: Callable, *arguments):
        try:
            return action(*arguments)
        except OSError as error:
            self.error = self.error or error
            raise


def new_part(part: Path) -> Part:
    """A locked part file. Between its making and its locking another writer may take it for abandoned."""
    while True:
        out = Part(part, "xb+")
        lock(out, wait=True)
        if part.exists():
            return out
        out.close()


def _remove_unlocked(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    with open(path, "rb+") as file:
        if lock(file, wait=False):
            path.unlink()


def _remove_unlocked_folder(path: Path) -> None:
    names = os.listdir(path)
    if LOCK in names:
        _remove_unlocked(path / LOCK)
    if not names:  # its writer may be about to lock it
        path.rmdir()
    elif not (path / LOCK).exists():
        shutil.rmtree(path)


def _old_is_abandoned(path: Path) -> bool:
    if time.time() - path.stat().st_mtime < _OLD_AGE:
        return False
    if fcntl is None:  # there, signal 0 would end the process; an open file cannot be removed anyway
        return True
    try:
        os.kill(int(_OLD_PART.fullmatch(path.name)[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _check_name(path: Path) -> None:
    """Have the system refuse a name before anything is written under another one."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.lstat(path)
    except FileNotFoundError:
        pass


def check_space(folder: Path, size: int) -> None:
    """Refuse, with an ``OSError``, a disk that has not so many bytes free."""
    if size and shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def in_words(error: OSError | ValueError, path: Path, label: str, size: int = 0) -> InputError:
    """What kept a file from being written; the arguments are those of ``write_whole``."""
    if isinstance(error, ValueError):  # a zero byte, or half a character
        return InputError(f"{shown(label)} cannot be written: {_REASONS[errno.EINVAL]}.")
    if error.errno in _FULL:
        needs = f"it needs {_megabytes(size)}, and " if size else ""
        free = _megabytes(shutil.disk_usage(path.parent).free)
        return InputError(f"{label[:200]} cannot be written: the disk is full ({needs}{free} are free). Make space there.")
    reason = _REASONS.get(error.errno) or error.strerror or type(error).__name__
    return InputError(f"{label[:200]} cannot be written: {reason}.")


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
