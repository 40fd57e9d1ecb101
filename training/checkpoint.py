"""Everything a run needs to go on as if it had never stopped, in one file."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy
import torch

from ..pusa_model.storage.files import write_whole
from ..schedulers import InputError

VERSION = 1
FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8})\.pt")


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(path for path in (folder / FOLDER).glob("step-*.pt") if _NAME.fullmatch(path.name))


def save_checkpoint(folder: Path, step: int, content: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint, complete or not at all, and remove all but the newest ``keep``.

    Raises:
        InputError: the file cannot be written there; the checkpoints before it stay.
    """
    path = folder / FOLDER / f"step-{step:08}.pt"
    write_whole(path, lambda out: torch.save({"version": VERSION, "step": step} | content, out), str(path))
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def find_checkpoint(folder: Path | None, resume: str | Path | None) -> Path | None:
    """The checkpoint to go on from: ``auto`` is the newest of the run (None if there is none yet), else a file.

    Raises:
        InputError: there is no such file, or checkpoints are in the way of a new run.
    """
    found = checkpoints(folder) if folder else []
    if resume == "auto":
        return found[-1] if found else None
    if resume is not None:
        if not Path(resume).is_file():
            raise InputError(f"`resume`: there is no checkpoint {resume}. Give a file, or `auto` for the newest of the run.")
        return Path(resume)
    if found:
        raise InputError(
            f"{folder} holds a run already (up to {found[-1].name}). Go on with it (`resume` auto), or give another folder."
        )
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU.

    Raises:
        InputError: the file is damaged or of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content["version"]
    except Exception as error:  # torch has its own exceptions for every kind of damage
        raise InputError(f"`resume`: {path} cannot be read as a checkpoint of this trainer ({error}).") from error
    if version != VERSION:
        raise InputError(f"`resume`: {path} is of version {version}; this trainer reads version {VERSION}.")
    return content


def random_state() -> dict[str, Any]:
    """State of the global random numbers of Python, NumPy and PyTorch, as plain values and tensors."""
    kind, keys, *rest = numpy.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype("int64")), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Bring the global random numbers to a state that ``random_state`` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
