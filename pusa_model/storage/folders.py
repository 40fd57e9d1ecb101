"""Folders that are whole or not there: filled beside their place under a lock, and moved there once they are complete.

The lock is a file in the folder, the first that is made there and the last that goes. So a part without it that holds something
has no writer any more.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ...schedulers import InputError
from .files import LOCK, Part, beside, check_space, fcntl, in_words, make_folder, new_part, remove_abandoned


class WholeFolder:
    """A folder that is filled beside its place, by one process or several, and moved there once it is complete.

    What it is filled with has to be on the disk by then (fsync). It is one process that opens, moves and closes it.

    Args:
        path: of the folder; one that is there is replaced.
        size: bytes that will be written, where they are known: then too small a disk is refused before anything is written.
    """

    def __init__(self, path: Path, size: int = 0):
        self.path, self.size, self.part = path, size, beside(path)
        self._lock: Part | None = None

    def open(self) -> Path:
        """The folder to fill. What killed writers left beside it is removed.

        Raises:
            InputError: nothing can be written there, with the reason in words.
        """
        make_folder(self.part, str(self.path))
        try:
            remove_abandoned(self.path.parent)
            check_space(self.path.parent, self.size)
            self._lock = _new_lock(self.part)
        except OSError as error:
            raise self.in_words(error) from error
        return self.part

    def move(self) -> None:
        """Bring it to its place.

        Raises:
            InputError: it cannot be brought there.
        """
        try:
            if fcntl is None:
                self._lock.close()
            else:
                _sync_folder(self.part)
            old = _put_aside(self.path)
            os.replace(self.part, self.path)
        except OSError as error:
            raise self.in_words(error) from error
        (self.path / LOCK).unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        """Remove what was not moved."""
        shutil.rmtree(self.part, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def in_words(self, error: OSError) -> InputError:
        """What kept one of its files from being written."""
        return in_words(error, self.path, str(self.path), self.size)


def remove_folder(path: Path) -> None:
    """Remove a folder, which is whole or gone for whoever looks; what a kill leaves of it, the next writer beside it removes."""
    shutil.rmtree(_put_aside(path), ignore_errors=True)


def _put_aside(path: Path) -> Path:
    """Give a folder the name of a part that has no writer; there may be none."""
    aside = beside(path)
    with suppress(FileNotFoundError):
        os.rename(path, aside)
    return aside


def _sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _new_lock(folder: Path) -> Part:
    """A new folder's lock. Until it is there, another writer may remove the folder, which is empty."""
    while True:
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            return new_part(folder / LOCK)
