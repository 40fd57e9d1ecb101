"""Everything a run needs to go on as if it had never stopped: one file, or a folder of parts (``parts.py``)."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from accelerate import PartialState
from torch import Tensor

from ...pusa_model.storage.files import write_whole
from ...pusa_model.storage.folders import remove_folder
from ...pusa_model.storage.safetensors_stream import SUFFIXES
from ...schedulers import InputError
from ..settings import Settings, check_same

VERSION = 2  # 1 filled batches up with repeated clips, so its runs saw another order
FOLDER = "checkpoints"
RUN_FILE = "run.pt"  # in a folder of parts, all but the weights
_NAME = re.compile(r"step-(\d{8})(\.pt)?")


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, files and folders of parts, oldest first."""
    return sorted(path for path in (folder / FOLDER).glob("step-*") if _NAME.fullmatch(path.name))


def save_checkpoint(folder: Path, step: int, content: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint, complete or not at all, and remove all but the newest ``keep``.

    Raises:
        InputError: the file cannot be written there; the checkpoints before it stay.
    """
    path = folder / FOLDER / f"step-{step:08}.pt"
    size = sum(tensor.nbytes for tensor in _tensors(content))
    write_whole(path, lambda out: torch.save({"version": VERSION, "step": step} | content, out), str(path), size)
    remove_old(folder, path, keep)
    return path


def remove_old(folder: Path, path: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what there is of the same step in the other form.

    Args:
        path: the one that was written just now, which stays; after a run went on from an older one, there may be newer ones.

    Raises:
        InputError: one cannot be removed.
    """
    twin = path.with_suffix("" if path.suffix else ".pt")
    others = [other for other in checkpoints(folder) if other not in (path, twin)]
    for old in [twin, *others[: max(0, len(others) - keep + 1)]]:
        try:
            remove_folder(old) if old.is_dir() else old.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{old}, which is not kept any longer, cannot be removed ({error.strerror}).") from error


def find_checkpoint(folder: Path | None, resume: str | Path | None) -> Path | None:
    """The checkpoint to go on from: ``auto`` is the newest of the run (None if there is none yet), else a file or folder.

    Raises:
        InputError: there is no such checkpoint, or checkpoints are in the way of a new run.
    """
    found = checkpoints(folder) if folder else []
    if resume == "auto":
        return found[-1] if found else None
    if resume is not None:
        if Path(resume).suffix.lower() in SUFFIXES:
            raise InputError(
                f"`resume`: {resume} is a LoRA or a model, which holds no state of a run. To start a new run from it, give it as "
                "--init_lora (a LoRA) or --init (a model); to go on with a run, give one of its folder checkpoints, or `auto`."
            )
        path = Path(resume).parent if Path(resume).name == RUN_FILE else Path(resume)
        if not (path.is_file() or (path / RUN_FILE).is_file()):
            raise InputError(
                f"`resume`: there is no checkpoint {resume}. Give one of the folder {FOLDER} of the run, or `auto` for its newest."
            )
        return path
    if found:
        raise InputError(
            f"{folder} holds a run already (up to {found[-1].name}). Go on with it (`resume` auto), or give another folder."
        )
    return None


def read_checkpoint(path: Path, mapped: bool = False) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU; of a folder of parts, all but the weights and the tensors of the optimiser.

    Args:
        mapped: read a tensor only when it is used, which keeps it out of memory where it goes to a GPU anyway.

    Raises:
        InputError: the file is damaged or of another version.
    """
    try:
        content = torch.load(path / RUN_FILE if path.is_dir() else path, map_location="cpu", weights_only=True, mmap=mapped)
        version = content["version"]
    except Exception as error:  # torch has its own exceptions for every kind of damage
        raise InputError(
            f"`resume`: {path} cannot be read as a checkpoint of this trainer: it is damaged, or another kind of file. Give "
            f"one of a run's folder {FOLDER}, or `auto` for the newest."
        ) from error
    if version != VERSION:
        raise InputError(
            f"`resume`: {path} is of version {version}; this trainer reads version {VERSION}. Finish that run with the version "
            "of the pack that began it, or start anew from its LoRA (--init_lora)."
        )
    return content


def check_same_run(path: Path, content: dict[str, Any], settings: Settings, about: dict, dataset) -> list[str]:
    """Refuse to go on with a run on another network, or on data in another order; say what else has changed.

    Args:
        about: plain values that tell the network from others; those that are not known yet are left out.
        dataset: has ``hash`` and ``shapes``.

    Returns:
        Changes that a run can take, in words.

    Raises:
        InputError: lists what differs.
    """
    changes = check_same(settings, content["settings"], (len(content["random"]), PartialState().num_processes))
    there = content["about"]
    differing = [f"{key} ({there.get(key)} then, {value} now)" for key, value in sorted(about.items()) if there.get(key) != value]
    if differing:
        raise InputError(f"`resume`: {path.name} is of a run on another network: {', '.join(differing)}.")
    if content["dataset_hash"] != dataset.hash:
        if content["order"] != order_hash(dataset.shapes):
            raise InputError(
                f"`resume`: {path.name} is of a run on other data: the number, the order or the sizes of the clips have changed, "
                "so steps would see others than they were to see. Give the same data, or start anew from the LoRA (--init_lora)."
            )
        changes.append(f"the data ({content['dataset_hash'][:12]} then, {dataset.hash[:12]} now; as many clips of the same sizes)")
    return changes


def order_hash(shapes: Sequence[Sequence[int]]) -> str:
    """Hash of all of the data that decides which clips a step sees."""
    return hashlib.sha256(json.dumps([list(shape) for shape in shapes]).encode()).hexdigest()


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors inside of nested lists and dicts."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _tensors(value)
    elif isinstance(content, (list, tuple)) and not (content and isinstance(content[0], (int, float))):
        for value in content:
            yield from _tensors(value)


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
