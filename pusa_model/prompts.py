"""CONDITIONING to and from a safetensors file, so that a queue can run without the text encoder in memory.

A CONDITIONING is a list of (embedding [B, L, D], options) pairs. Tensors are stored as tensors in their dtype; the structure
around them is JSON in one entry of the file's metadata (safetensors writes several in any order), in which
``{"tensor": name}`` stands for a tensor, and ``{"tuple": [...]}`` and ``{"dict": {...}}`` for what JSON has no word for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import folder_paths
import safetensors
import safetensors.torch
from torch import Tensor

from ..schedulers import InputError

FOLDER = "prompts"
METADATA = "pusa_prompt"
VERSION = 1
SUFFIX = ".safetensors"


def register_folder() -> None:
    """Tell ComfyUI about models/prompts, the folder of stored prompts."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


def stored_prompts() -> list[str]:
    """Names of the stored prompts, as PusaLoadPrompt lists them."""
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(SUFFIX)]


def save_prompt(conditioning: list, name: str, overwrite: bool) -> Path:
    """Write a CONDITIONING under models/prompts and return the path.

    Args:
        name: file name without suffix; subfolders are allowed, leaving the folder is not.
        overwrite: replace a stored prompt of that name that holds something else.

    Raises:
        InputError: the name is unusable or taken, or an option cannot be stored (a ControlNet, a hook).
    """
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0]).resolve()
    path = (folder / f"{name.strip()}{SUFFIX}").resolve()
    if not name.strip() or folder not in path.parents or path.name == SUFFIX:
        raise InputError(f"`prompt_name` is `{name}`; give a file name that stays inside models/{FOLDER}.")
    data = safetensors.torch.save(*pack_prompt(conditioning))
    if path.exists() and path.read_bytes() != data and not overwrite:
        raise InputError(
            f"`prompt_name`: models/{FOLDER}/{name}{SUFFIX} holds another prompt. Choose another name, or turn on `overwrite`."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def pack_prompt(conditioning: list) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a stored prompt, as safetensors takes them.

    Raises:
        InputError: an option is neither a tensor nor plain data.
    """
    tensors: dict[str, Tensor] = {}
    structure = [_pack(entry, tensors, f"entry {index}") for index, entry in enumerate(conditioning)]
    return tensors, {METADATA: json.dumps({"version": VERSION, "conditioning": structure})}


def load_prompt(path: str) -> list:
    """Read a CONDITIONING that ``save_prompt`` wrote.

    Raises:
        InputError: the file is not a stored prompt or is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if METADATA not in metadata:
            raise InputError("`prompt_name`: the file is not a prompt stored by Save Prompt (Pusa).")
        stored = json.loads(metadata[METADATA])
        if stored["version"] != VERSION:
            raise InputError(f"`prompt_name`: the file is of version {stored['version']}; this pack reads version {VERSION}.")
        return [_unpack(entry, tensors) for entry in stored["conditioning"]]
    except InputError:
        raise
    except (safetensors.SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"`prompt_name`: the file is damaged ({error}).") from error


def _pack(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
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
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    return {key: _unpack(item, tensors) for key, item in content.items()}
