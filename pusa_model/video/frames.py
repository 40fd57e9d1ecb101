"""Where the frames of a long video are put as they come: memory, or a file that is read as if it were memory."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import folder_paths
import torch
from comfy.model_management import get_free_memory
from torch import Tensor

from ...schedulers import InputError

STORES = ("memory", "disk")
_DISK_HELP = "Free some room, or start ComfyUI with another --temp-directory"


class Frames:
    """Frames [N, H, W, 3] of a video, in memory; to be used in a ``with`` block.

    A place is counted from the first frame that ``fill`` puts; places before it are negative.

    Args:
        height, width: of every frame, pixels.
        before, after: frames that will be put before and after those of ``fill``.
        given: frames that ``fill`` will put, as far as that is known.

    Attributes:
        length: frames that ``fill`` has put.

    Raises:
        InputError: there is too little memory for those that are known.
    """

    def __init__(self, height: int, width: int, before: int = 0, after: int = 0, given: int = 0):
        self.size, self.before, self.after = (height, width, 3), before, after
        self.length = 0
        self._reserve(before + given + after)

    def _reserve(self, count: int) -> None:
        check_memory(count, *self.size[:2])

    def fill(self, parts: Iterable[Tensor]) -> None:
        """Put the given frames, in parts [n, H, W, 3] of any number.

        Raises:
            InputError: there is too little memory.
        """
        given = list(parts)
        count = self.before + sum(map(len, given)) + self.after
        self._reserve(count)
        self._frames = torch.empty((count, *self.size))
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

    The file has no name, or loses it with its last reader (Windows): it needs no one to remove it, and no one can.

    Raises:
        InputError: nothing can be written there, or the disk has too little room, at once if that is known and else when it
            fills up.
    """

    def _reserve(self, count: int) -> None:
        self._frame_bytes, self._count = frame_bytes(*self.size[:2]), 0
        needed, folder = count * self._frame_bytes, Path(folder_paths.get_temp_directory())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if needed > free:
                raise InputError(
                    f"{count} frames take {needed / 2**30:.1f} GB, but ComfyUI's folder of temporary files has "
                    f"{free / 2**30:.1f} GB left. {_DISK_HELP}, or make fewer frames."
                )
            self._file = tempfile.TemporaryFile(prefix="pusa_frames_", dir=folder, buffering=0)
        except OSError as error:
            raise InputError(
                f"frames cannot be kept in ComfyUI's folder of temporary files ({error.strerror}). Start ComfyUI with another "
                "--temp-directory, or set `frames_in` to memory."
            ) from error

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
        mapped = mmap.mmap(self._file.fileno(), self._count * self._frame_bytes)  # shared: asks the system for no memory
        return torch.frombuffer(mapped, dtype=torch.float32).view(self._count, *self.size)

    def __exit__(self, *exception) -> None:
        self._file.close()


def make_frames(frames_in: str, height: int, width: int, before: int = 0, after: int = 0, given: int = 0) -> Frames:
    """``memory`` or ``disk``.

    Raises:
        InputError: another word, or no room in it.
    """
    if frames_in not in STORES:
        raise InputError(f"`frames_in` is `{frames_in}`; use {' or '.join(STORES)}.")
    return (FramesOnDisk if frames_in == "disk" else Frames)(height, width, before, after, given)


def check_memory(frames: int, height: int, width: int) -> None:
    """Refuse frames that do not fit in memory.

    Raises:
        InputError: says how much is missing, and that they may be on disk.
    """
    needed, free = frames * frame_bytes(height, width), get_free_memory(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"{frames} frames of {width} x {height} pixels take {needed / 2**30:.1f} GB, but {free / 2**30:.1f} GB of memory are "
            "free. Set `frames_in` to disk, or make fewer frames."
        )


def frame_bytes(height: int, width: int) -> int:
    """Bytes of a frame in float32."""
    return height * width * 3 * torch.float32.itemsize
