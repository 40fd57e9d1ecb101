"""Windows that were sampled before, by everything that went into them, on disk.

A latent of 81 frames at 832 x 480 takes 8 MB. What is stored serves as long as ComfyUI runs: models are told apart as the
objects that they are, and ComfyUI clears its folder of temporary files when it starts.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import folder_paths
import safetensors
import safetensors.torch
from torch import Tensor

from .tensor_hash import tensor_hash

FOLDER = "pusa_windows"
LIMIT = 2**31  # bytes of latents kept: 250 windows of 81 frames at 832 x 480
_numbers = itertools.count()
_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


class Unstorable(Exception):
    """A value that another run could not be told apart by."""


def window_key(**inputs: Any) -> str | None:
    """A name for what is made from these inputs; None if one of them cannot be told from others.

    Tensors count by their values. Objects such as a MODEL or a VAE count as themselves: another node that loads the same
    file makes another object, ComfyUI's cache keeps the same one.
    """
    try:
        return hashlib.sha256(_words(inputs).encode()).hexdigest()
    except Unstorable:
        return None


def load_window(key: str | None) -> Tensor | None:
    """The latent that was stored under a name, or None."""
    if key is None or not _path(key).is_file():
        return None
    try:
        os.utime(_path(key))
        return safetensors.torch.load_file(_path(key))["latent"]
    except (OSError, safetensors.SafetensorError, KeyError) as error:
        logging.warning("Pusa: a stored window cannot be read and is sampled again (%s).", error)
        return None


def store_window(key: str | None, latent: Tensor) -> None:
    """Keep a latent; on a full disk it is not kept, and the log says so."""
    if key is None:
        return
    path = _path(key)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(safetensors.torch.save({"latent": latent.contiguous()}))
        os.replace(unfinished, path)
        _forget(path.parent)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        logging.warning("Pusa: this window is not kept for another run (%s).", error.strerror)


def _forget(folder: Path) -> None:
    """Remove what was not asked for longest, down to the limit."""
    known = sorted(((path.stat(), path) for path in folder.glob("*.safetensors")), key=lambda each: -each[0].st_mtime_ns)
    total = 0
    for about, path in known:
        total += about.st_size
        if total > LIMIT:
            path.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return Path(folder_paths.get_temp_directory()) / FOLDER / f"{key}.safetensors"


def _words(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, Tensor):
        return tensor_hash(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_words(item)}' for key, item in sorted(value.items(), key=lambda each: repr(each[0])))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_words, value))}]"
    try:
        return _known.setdefault(value, f"object {next(_numbers)}")
    except TypeError as error:
        raise Unstorable from error
