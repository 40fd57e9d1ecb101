"""Windows that were sampled before, by everything that went into them, on disk.

A latent of 81 frames at 832 x 480 takes 8 MB. Windows whose inputs can be told in every process lie in ComfyUI's user folder and
outlive it, also when it is killed. The others mean nothing to another process: they lie in ComfyUI's temp folder, in a folder
that is locked for as long as this process lives and that the next one removes.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import folder_paths
import safetensors
import safetensors.torch
from torch import Tensor

from ...schedulers import InputError
from ..storage.files import lock, write_whole
from ..storage.identity import Unstorable, environment, identity, is_lasting, process_token
from ..storage.tensor_hash import tensor_hash

FOLDER = "pusa_windows"
LIMIT = 2**31  # bytes of latents kept in either place: 250 windows of 81 frames at 832 x 480
_LASTING = "lasting-"
_METADATA = "pusa_window"
_ALIVE = "alive"
_alive: io.IOBase | None = None  # the open and locked file in the folder of this process


def window_key(**inputs: Any) -> str | None:
    """A name for what is made from these inputs here; None if one of them cannot be told from others.

    Everything counts by its content: tensors by their values, a MODEL or VAE by its weights and all that is on it, so that
    the name is the same in another process. Where that cannot be told it is a name in this process alone.
    """
    try:
        words = identity(inputs | {"": environment()})
    except Unstorable:
        return None
    return (_LASTING if is_lasting(words) else "") + hashlib.sha256(words.encode()).hexdigest()


def load_window(key: str | None) -> Tensor | None:
    """The finite latent that was stored under a name, or None; what is damaged is None too, and the log says so."""
    if key is None or not _path(key).is_file():
        return None
    try:
        os.utime(_path(key))
        with safetensors.safe_open(_path(key), framework="pt") as file:
            label, latent = file.metadata() or {}, file.get_tensor("latent")
        if label.get(_METADATA) != _label(key, latent):
            raise ValueError("its content has changed")
        return latent
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        logging.warning("Pusa: a stored window cannot be read and is sampled again (%s).", error)
        return None


def store_window(key: str | None, latent: Tensor) -> None:
    """Keep a latent, if it is finite; where the disk does not take it, it is not kept, and the log says so."""
    if key is None or not latent.isfinite().all():
        return
    latent = latent.contiguous()
    data = safetensors.torch.save({"latent": latent}, {_METADATA: _label(key, latent)})
    try:
        if not key.startswith(_LASTING):
            _stay_alive()
        write_whole(_path(key), lambda out: out.write(data), "this window", len(data))
        _forget(_path(key).parent)
    except (OSError, InputError) as error:
        logging.warning("Pusa: a window is not kept for another run (%s).", error)


def _label(key: str, latent: Tensor) -> str:
    return json.dumps([key, tensor_hash(latent)])


def _path(key: str) -> Path:
    if key.startswith(_LASTING):
        return Path(folder_paths.get_system_user_directory("pusa")) / "windows" / f"{key}.safetensors"
    return _own_folder() / f"{key}.safetensors"


def _own_folder() -> Path:
    return Path(folder_paths.get_temp_directory()) / FOLDER / process_token()


def _stay_alive() -> None:
    """Lock the folder of this process, and remove those of processes that are gone."""
    global _alive
    mark = _own_folder() / _ALIVE
    if _alive is not None and _alive.name == str(mark) and mark.exists():
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    for other in mark.parents[1].glob(f"*/{_ALIVE}"):
        with open(other, "rb+") as file:
            abandoned = lock(file, wait=False) and other != mark
        if abandoned:
            shutil.rmtree(other.parent, ignore_errors=True)
    _alive = open(mark, "wb")
    lock(_alive, wait=True)


def _forget(folder: Path) -> None:
    """Remove what was not asked for longest, down to the limit."""
    total = 0
    for size, path in _newest_first(folder):
        total += size
        if total > LIMIT:
            path.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("*.safetensors"):
        try:
            about = path.stat()
        except FileNotFoundError:  # another process was faster
            continue
        found.append((about.st_mtime_ns, about.st_size, path))
    return [(size, path) for _, size, path in sorted(found, reverse=True)]
