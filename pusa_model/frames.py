"""Where the frames of a long video are put as they come: memory, or a file that is read as if it were memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import folder_paths
import torch
from torch import Tensor

from ..schedulers import InputError

STORES = ("memory", "disk")
_DISK_HELP = "Free some room, or start ComfyUI with another --temp-directory"


class Frames:
    """Frames [N, H, W, 3] of a video, in memory; to be used in a ``with`` block.

    A place is counted from the first frame that ``fill`` puts; places before it are negative.

    Args:
        height, width: of every frame, pixels.
        before, after: frames that will be put before and after those of ``fill``.

    Attributes:
        length: frames that ``fill`` has put.
    """

    def __init__(self, height: int, width: int, before: int = 0, after: int = 0):
        self.size, self.before, self.after = (height, width, 3), before, after
        self.length = 0

    def fill(self, parts: Iterable[Tensor]) -> None:
        """Put the given frames, in parts [n, H, W, 3] of any number."""
        given = list(parts)
        self._frames = torch.empty((self.before + sum(map(len, given)) + self.after, *self.size))
        for part in given:
            self.put(self.length, part)
            self.length += len(part)

    def put(self, place: int, frames: Tensor) -> None:
        """Put frames [n, H, W, 3] at a place and those that follow."""
        self._frames[self.before + place : self.before + place + len(frames)] = frames

    def tensor(self) -> Tensor:
        """All frames, [N, H, W, 3]."""
        return self._frames

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *exception) -> None:
        pass


class FramesOnDisk(Frames):
    """The same in a file in ComfyUI's folder of temporary files, so that a video need not fit in memory.

    The file goes with the tensor that reads it (on Windows: when ComfyUI clears the folder, the next time it starts).

    Raises:
        InputError: the disk has too little room, at once if that is known and else when it fills up.
    """

    def __init__(self, height: int, width: int, before: int = 0, after: int = 0):
        super().__init__(height, width, before, after)
        self._frame_bytes = 4 * height * width * 3
        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = (before + after) * self._frame_bytes, shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{before + after} new frames take {needed / 2**30:.1f} GB, but ComfyUI's folder of temporary files has "
                f"{free / 2**30:.1f} GB left. {_DISK_HELP}, or make fewer frames."
            )
        handle, name = tempfile.mkstemp(prefix="pusa_frames_", dir=folder)
        self._path, self._file, self._count = Path(name), os.fdopen(handle, "r+b", buffering=0), 0

    def fill(self, parts: Iterable[Tensor]) -> None:
        """Put the given frames, one part after the other."""
        for part in parts:
            self.put(self.length, part)
            self.length += len(part)

    def put(self, place: int, frames: Tensor) -> None:
        """Put frames, through to the disk."""
        first = self.before + place
        try:
            self._file.seek(first * self._frame_bytes)
            left = memoryview(frames.float().contiguous().numpy()).cast("B")
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(
                f"frames cannot be written to ComfyUI's folder of temporary files ({error.strerror}). {_DISK_HELP}, and queue "
                "again: hops that are finished are not sampled again."
            ) from error
        self._count = max(self._count, first + len(frames))

    def tensor(self) -> Tensor:
        """All frames; each is read from the file when it is looked at."""
        floats = self._count * self._frame_bytes // 4
        frames = torch.from_file(str(self._path), shared=False, size=floats, dtype=torch.float32)
        return frames.view(self._count, *self.size)

    def __exit__(self, *exception) -> None:
        self._file.close()
        try:
            self._path.unlink()  # the system keeps what is mapped until nothing reads it
        except PermissionError:
            pass  # Windows, where a file that is mapped stays


def make_frames(frames_in: str, height: int, width: int, before: int = 0, after: int = 0) -> Frames:
    """``memory`` or ``disk``.

    Raises:
        InputError: another word, or no room on the disk.
    """
    if frames_in not in STORES:
        raise InputError(f"`frames_in` is `{frames_in}`; use {' or '.join(STORES)}.")
    return (FramesOnDisk if frames_in == "disk" else Frames)(height, width, before, after)
