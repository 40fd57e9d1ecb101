"""The room that a run needs on disk, and whether its folder can be written to, before anything is loaded."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ...pusa_model.storage.files import make_folder, remove_abandoned, write_whole
from ...schedulers import InputError
from ..settings import Settings

STATE = 12  # bytes of a checkpoint for each trained number: the number and AdamW's two moments, float32


def probe(folder: Path) -> None:
    """Make the folder of a run, remove what a killed one left there unfinished, and write a file into it.

    Raises:
        InputError: says why it cannot be written to.
    """
    path = folder / "checkpoints" / "probe"
    make_folder(path, str(folder))
    write_whole(path, lambda out: out.write(b"writable"), str(folder))
    remove_abandoned(folder)  # a finished run, which is not gone on with, writes nothing else there
    path.unlink(missing_ok=True)  # another process of the run may have been faster


def check_shared(folder: Path) -> None:
    """Refuse a folder that not all processes see, where each is to write its part of a checkpoint; every process must call it.

    Raises:
        InputError: it is another one for some of them.
    """
    state = PartialState()
    path = folder / broadcast_object_list([f".shared-{secrets.token_hex(8)}"])[0]
    if state.is_main_process:
        path.touch()
    state.wait_for_everyone()
    seen = gather_object([path.exists()])
    state.wait_for_everyone()
    path.unlink(missing_ok=True)
    if not all(seen):
        blind = ", ".join(str(index) for index, found in enumerate(seen) if not found)
        raise InputError(
            f"--output {folder} is another folder for process {blind} than for process 0. With weights that are spread over "
            "machines (FSDP), each writes its part of a checkpoint there; give a folder on a disk that all of them share."
        )


def needed(trained: int, settings: Settings, dtype_size: int, done: int = 0) -> tuple[int, int]:
    """Bytes of the checkpoints (those that are kept and the one being written), and of the trained files from step ``done`` on.

    Args:
        trained: how many numbers are trained.
        dtype_size: bytes of a number in the trained files.
    """
    saves = -(-(settings.steps - done) // settings.save_every) if settings.save_every else 1
    return STATE * trained * min(settings.keep + 1, saves + 1), dtype_size * trained * saves


def check_room(folder: Path, trained: int, settings: Settings, dtype_size: int, done: int = 0) -> str:
    """The room that a run takes, in words.

    Raises:
        InputError: there is not even room for one checkpoint and one trained file.
    """
    checkpoints, files = needed(trained, settings, dtype_size, done)
    free = shutil.disk_usage(folder).free
    least = (STATE + dtype_size) * trained
    words = (
        f"Disk: {_size(checkpoints)} for checkpoints, {_size(files)} for trained files, {_size(checkpoints + files)} in all; "
        f"{_size(free)} are free in {folder}."
    )
    if free < least:
        raise InputError(
            f"{words} A single save takes {_size(least)}. Make space, give a folder on another disk, or train less: a lower rank."
        )
    short = free < checkpoints + files
    return words + (" WARNING: that is not enough; --keep 1 or a larger --save_every takes less." if short else "")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
