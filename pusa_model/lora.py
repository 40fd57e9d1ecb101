"""Pusa and other LoRA files: key names brought to the one form that ComfyUI's LoRA patcher matches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
from torch import Tensor

from ..schedulers import InputError
from .guards import check_model

_PREFIX = re.compile(r"^(?:(?:base_model|model|transformer|pipe|dit|diffusion_model)\.)+")
_ADAPTER = re.compile(r"\.(lora_[AB])\.[^.]+\.weight$")
_PART = re.compile(
    r"\.(?:lora_[AB]\.weight|lora_(?:up|down|mid)\.weight|alpha|dora_scale|diff|diff_b|set_weight|w_norm|b_norm)$"
)


def load_lora(model, path: str, strength: float):
    """Clone a MODEL with a LoRA file applied by ComfyUI's patcher.

    A file without alpha entries at strength s adds ``s * B @ A``, which is what the official ``lora_alpha`` s does: 1.4 there
    is 1.4 here. With alpha entries the patcher scales by alpha / rank on top.

    Args:
        model: ModelPatcher of a plain Wan text-to-video model.
        path: .safetensors, or a .pt/.pth/.ckpt/.bin that holds tensors only (read with weights-only unpickling).
        strength: factor on the update; 0 leaves the weights as they are.

    Raises:
        InputError: the file cannot be read as tensors, or a key of it matches no weight of the model.
    """
    check_model(model)
    try:
        file, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except Exception as error:  # every reader has its own exceptions; the file is at fault for all of them
        raise InputError(f"`lora_name`: the file cannot be read as a LoRA ({error}).") from error
    lora = rename_keys(file)
    modules = comfy.lora.model_lora_keys_unet(model.model, {})
    unmatched = [key for key in lora if _PART.sub("", key) not in modules or not _PART.search(key)]
    if unmatched or not lora:
        raise InputError(
            f"`lora_name`: {len(unmatched)} of {len(lora)} keys of the file match no weight of this model, so it would be "
            f"applied in part or not at all. First of them: {', '.join(unmatched[:5]) or 'the file is empty'}. Use a LoRA "
            "made for this model."
        )
    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0.0, lora_metadata=metadata)[0]


def rename_keys(file: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring LoRA keys to ``diffusion_model.<module>.<part>``: other prefixes and PEFT adapter names are dropped.

    ``blocks.0.self_attn.q.lora_A.default.weight``, the form of the official files, becomes
    ``diffusion_model.blocks.0.self_attn.q.lora_A.weight``. Keys in the ``lora_unet_`` form stay as they are.

    Raises:
        InputError: an entry is not a tensor, or two keys become one.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in file.items():
        if not isinstance(value, Tensor):
            raise InputError(f"`lora_name`: the entry {key} is a {type(value).__name__}, not a tensor.")
        name = key if key.startswith("lora_unet_") else "diffusion_model." + _PREFIX.sub("", key)
        name = _ADAPTER.sub(r".\1.weight", name)
        if name in renamed:
            raise InputError(f"`lora_name`: two keys of the file name the same weight ({key}).")
        renamed[name] = value
    return renamed
