"""LoRA files on disk: read safely, and their keys brought to the one form that ComfyUI's LoRA patcher matches."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.utils
import torch
from torch import Tensor

from ..schedulers import InputError

_PREFIX = re.compile(r"^(?:(?:base_model|model|transformer|pipe|dit|diffusion_model)\.)+")
_ADAPTER = re.compile(r"\.(lora_[AB])\.[^.]+\.weight$")


def read_tensors(path: str) -> tuple[Any, dict[str, str] | None]:
    """Content and metadata of a LoRA file, memory-mapped where its format allows, through ComfyUI's safe loading.

    Raises:
        InputError: the file cannot be read as tensors.
    """
    try:
        if Path(path).suffix.lower() not in (".safetensors", ".sft") and zipfile.is_zipfile(path):
            return unwrapped(torch.load(path, map_location="cpu", weights_only=True, mmap=True)), None
        return comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except Exception as error:  # every reader has its own exceptions; the file is at fault for all of them
        reason = f"{type(error).__name__}: {error}".split(". ")[0]
        raise InputError(
            f"`lora_name`: the file cannot be read as a LoRA ({reason}). It is damaged, or holds more than tensors, which is "
            "refused because it could run code. Download it again, as .safetensors where there is one."
        ) from error


def unwrapped(content: Any) -> Any:
    """The tensors of a checkpoint that holds them in one entry, as training frameworks write it."""
    if isinstance(content, Mapping):
        for name in ("state_dict", "module") if len(content) > 1 else content:
            if isinstance(content.get(name), Mapping):
                return content[name]
    return content


def rename_keys(file: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring LoRA keys to ``diffusion_model.<module>.<part>``: other prefixes and PEFT adapter names are dropped.

    ``blocks.0.self_attn.q.lora_A.default.weight``, the form of the official files, becomes
    ``diffusion_model.blocks.0.self_attn.q.lora_A.weight``. Keys in the ``lora_unet_`` form stay as they are.

    Raises:
        InputError: an entry is not a tensor, or two keys become one.
    """
    if not isinstance(file, Mapping):
        raise InputError(f"`lora_name`: the file holds a {type(file).__name__}, not tensors by name.")
    renamed: dict[str, Tensor] = {}
    for key, value in file.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InputError(f"`lora_name`: the entry {key!r} is a {type(value).__name__}, not a tensor with a name.")
        name = key.replace("lora_unet__", "lora_unet_", 1)  # as the Wan Fun LoRAs spell it
        name = name if name.startswith("lora_unet_") else "diffusion_model." + _PREFIX.sub("", name)
        name = _ADAPTER.sub(r".\1.weight", name)
        if name in renamed:
            raise InputError(f"`lora_name`: two keys of the file name the same weight ({key}).")
        renamed[name] = value
    return renamed
