"""CONDITIONING to and from a safetensors file, so that a queue can run without the text encoder in memory.

A CONDITIONING is a list of (embedding [B, L, D], options) pairs. Tensors are stored as tensors in their dtype; the structure
around them is JSON in one entry of the file's metadata (safetensors writes several in any order), in which
``{"tensor": name}`` stands for a tensor, and ``{"tuple": [...]}`` and ``{"dict": {...}}`` for what JSON has no word for. A hash
of both stands beside the structure: the format itself protects nothing behind its header.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import folder_paths
import safetensors
import safetensors.torch
from torch import Tensor

from ...schedulers import InputError
from ...schedulers.grammar import shown
from ..storage.files import make_folder, write_whole
from ..storage.tensor_hash import tensor_hash

FOLDER = "prompts"
METADATA = "pusa_prompt"
VERSION = 1
SUFFIX = ".safetensors"
_ABSENT = object()
_UNWRITABLE = re.compile(r"[\x00-\x1f\ud800-\udfff]")


def register_folder() -> None:
    """Tell ComfyUI about models/prompts, the folder of stored prompts."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


def stored_prompts() -> list[str]:
    """Names of the stored prompts, as PusaLoadPrompt lists them."""
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(SUFFIX)]


def save_prompt(conditioning: list, name: str, overwrite: bool) -> Path:
    """Write a CONDITIONING under models/prompts and return the path.

    Args:
        name: file name, with or without suffix; subfolders are allowed, leaving the folder is not.
        overwrite: replace a stored prompt of that name that holds something else.

    Raises:
        InputError: the name is unusable or taken, the prompt cannot be stored (it holds a ControlNet, a hook, a value that is
            not finite), or the disk does not take it.
    """
    data = safetensors.torch.save(*pack_prompt(conditioning))
    plain = name.strip().removesuffix(SUFFIX)
    label = f"`prompt_name`: models/{FOLDER}/{shown(plain)}{SUFFIX}"
    path = _place(plain)
    make_folder(path, label)
    if path.exists() and not overwrite and not _holds(path, data):
        raise InputError(f"{label} holds another prompt. Choose another name, or turn on `overwrite`.")
    write_whole(path, lambda out: out.write(data), label, len(data))
    return path


def _place(name: str) -> Path:
    """The file in models/prompts of a name without suffix.

    Raises:
        InputError: it is none, or leads elsewhere.
    """
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0]).resolve()
    path = folder / SUFFIX if _UNWRITABLE.search(name) else (folder / f"{name}{SUFFIX}").resolve()
    if not name.strip() or folder not in path.parents or path.name == SUFFIX:
        raise InputError(f"`prompt_name` is `{shown(name)}`; give a file name that stays inside models/{FOLDER}.")
    return path


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file holds the prompt of these bytes, in this form or an earlier one."""
    try:
        return path.read_bytes() == data or safetensors.torch.save(*pack_prompt(load_prompt(str(path)))) == data
    except (OSError, InputError):
        return False


def prompt_path(name: str) -> str:
    """Path of a stored prompt by the name that PusaLoadPrompt lists.

    Raises:
        InputError: there is none.
    """
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        raise InputError(f"`prompt_name`: there is no file `{shown(name)}` in models/{FOLDER}. Choose one from the list.")
    return path


def pack_prompt(conditioning: list) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a stored prompt, as safetensors takes them.

    Raises:
        InputError: it is no CONDITIONING, an option is neither a tensor nor plain data, or a value is not finite.
    """
    if not _is_conditioning(conditioning):
        raise InputError("`conditioning` is no list of embeddings [B, L, D] with options. Connect CLIP Text Encode.")
    tensors: dict[str, Tensor] = {}
    structure = [_pack(entry, tensors, f"entry {index}") for index, entry in enumerate(conditioning)]
    stored = {"version": VERSION, "conditioning": structure, "sha256": _hash(structure, tensors)}
    return tensors, {METADATA: json.dumps(stored)}


def load_prompt(path: str) -> list:
    """Read a CONDITIONING that ``save_prompt`` wrote.

    Raises:
        InputError: the file is not a stored prompt, is of a later version or is damaged.
    """
    try:
        return _read(path)
    except InputError:
        raise
    except RecursionError as error:
        raise _damaged("its structure is too deep") from error
    except OSError as error:
        raise InputError(f"`prompt_name`: {Path(path).name[:100]} cannot be read: {error.strerror}.") from error
    except (safetensors.SafetensorError, LookupError, TypeError, ValueError) as error:
        raise _damaged(str(error)[:100]) from error


def _read(path: str) -> list:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    if METADATA not in metadata:
        raise InputError("`prompt_name`: the file is not a prompt stored by Save Prompt (Pusa).")
    stored = json.loads(metadata[METADATA])
    if stored["version"] != VERSION:
        version = str(stored["version"])[:20]
        raise InputError(f"`prompt_name`: the file is of version {version}; this pack reads version {VERSION}.")
    structure = stored["conditioning"]
    if stored.get("sha256", _ABSENT) not in (_ABSENT, _hash(structure, tensors)):
        raise _damaged("its content has changed since it was stored")
    conditioning = _unpack(structure, tensors)
    if not _is_conditioning(conditioning):
        raise _damaged("what it holds is no encoded prompt")
    return conditioning


def _damaged(why: str) -> InputError:
    return InputError(f"`prompt_name`: the file is damaged ({why}). Copy or store it again.")


def _hash(structure: Any, tensors: dict[str, Tensor]) -> str:
    """Of everything that a file holds. Files of version 0.2.0 carry none."""
    content = [structure, {name: tensor_hash(tensors[name]) for name in sorted(tensors)}]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, (list, tuple))
        and len(entry) == 2
        and isinstance(entry[0], Tensor)
        and entry[0].ndim == 3
        and isinstance(entry[1], dict)
        for entry in value
    )


def _is_finite(value: Tensor | float) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.double().isfinite().all())
    return math.isfinite(value)


def _pack(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    if isinstance(value, (Tensor, float)) and not _is_finite(value):
        raise InputError(f"`conditioning` holds a value that is not a finite number in {where}. Encode the prompt again.")
    if isinstance(value, Tensor):
        name = f"tensor_{len(tensors)}"
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, list):
        return [_pack(item, tensors, f"{where}, item {index}") for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, tensors, f"{where}, item {index}") for index, item in enumerate(value)]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, tensors, f"{where}, `{key}`") for key, item in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(
        f"`conditioning` holds a {type(value).__name__} in {where}, which cannot be stored. Store the prompt before nodes that "
        "attach models or hooks to it, such as ControlNets."
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tuple":
            return tuple(_unpack(item, tensors) for item in content)
        if kind == "dict" and isinstance(content, dict):
            return {key: _unpack(item, tensors) for key, item in content.items()}
        if kind != "tensor":
            raise _damaged("its structure is none of a prompt")
        value = tensors[content]
    if isinstance(value, (Tensor, float)) and not _is_finite(value):
        raise _damaged("a value in it is not a finite number")
    return value
