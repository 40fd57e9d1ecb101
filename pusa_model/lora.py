"""Pusa and other LoRA files: key names brought to the one form that ComfyUI's LoRA patcher matches, and checked to fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
from torch import Size, Tensor

from ..schedulers import InputError
from .guards import check_model

_PREFIX = re.compile(r"^(?:(?:base_model|model|transformer|pipe|dit|diffusion_model)\.)+")
_ADAPTER = re.compile(r"\.(lora_[AB])\.[^.]+\.weight$")
_UPS = {"lora_A.weight": "lora_B.weight", "lora_down.weight": "lora_up.weight"}
_DOWNS = {up: down for down, up in _UPS.items()}
_WEIGHTS, _BIASES = ("diff", "set_weight", "w_norm"), ("diff_b", "b_norm")
_PARTS = (*_UPS, *_DOWNS, *_WEIGHTS, *_BIASES, "alpha", "dora_scale")
_KEY = re.compile(rf"(.+?)\.({'|'.join(map(re.escape, _PARTS))})")


def load_lora(model, path: str, strength: float):
    """Clone a MODEL with a LoRA file applied by ComfyUI's patcher.

    A file without alpha entries at strength s adds ``s * B @ A``, which is what the official ``lora_alpha`` s does: 1.4 there
    is 1.4 here. With alpha entries the patcher scales by alpha / rank on top.

    Args:
        model: ModelPatcher of a plain Wan text-to-video model.
        path: .safetensors, or a .pt/.pth/.ckpt/.bin that holds tensors only (read with weights-only unpickling).
        strength: factor on the update; 0 leaves the weights as they are.

    Raises:
        InputError: the file cannot be read as tensors, or a key of it matches no weight of the model in name or in size.
    """
    check_model(model)
    try:
        file, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except Exception as error:  # every reader has its own exceptions; the file is at fault for all of them
        reason = f"{type(error).__name__}: {error}".split(". ")[0]
        raise InputError(
            f"`lora_name`: the file cannot be read as a LoRA ({reason}). It is damaged, or holds more than tensors, which is "
            "refused because it could run code. Download it again, as .safetensors where there is one."
        ) from error
    lora = rename_keys(file)
    check_fit(lora, model)
    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0.0, lora_metadata=metadata)[0]


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


def check_fit(lora: Mapping[str, Tensor], model) -> None:
    """Refuse renamed LoRA keys that ComfyUI's patcher would pass over with no more than a line in the log.

    Raises:
        InputError: a key matches no weight of the model, has another size, or is half of a pair.
    """
    modules = comfy.lora.model_lora_keys_unet(model.model, {})
    targets = {key: _target(key, modules) for key in lora}
    unmatched = [key for key, target in targets.items() if target is None]
    if unmatched or not lora:
        raise InputError(
            f"`lora_name`: {len(unmatched)} of {len(lora)} keys of the file match no weight of this model that a LoRA can "
            "change, so it would be applied in part or not at all. First of them: "
            f"{', '.join(unmatched[:5]) or 'the file is empty'}. Use a LoRA made for this model."
        )
    misfits = [_misfit(key, lora, comfy.utils.get_attr(model.model, target).shape) for key, target in targets.items()]
    misfits = [misfit for misfit in misfits if misfit is not None]
    if misfits:
        raise InputError(
            f"`lora_name`: {len(misfits)} of {len(lora)} keys of the file do not fit the weights of this model, whose width "
            f"is {model.get_model_object('diffusion_model').dim} (14B has 5120, 1.3B has 1536). First of them: "
            f"{'; '.join(misfits[:5])}. Use a LoRA made for this model."
        )


def _target(key: str, modules: Mapping[str, str]) -> str | None:
    """Name of the weight or bias that a renamed key changes; None if the model has none.

    Parameters beside weights and biases (``modulation``) count as none: the patcher takes their patches and never loads them.
    """
    match = _KEY.fullmatch(key)
    target = modules.get(match[1], "") if match else ""
    if not target.endswith((".weight", ".bias")):
        return None
    return modules.get(target.removesuffix(".weight") + ".bias") if match[2] in _BIASES else target


def _misfit(key: str, lora: Mapping[str, Tensor], weight: Size) -> str | None:
    """Why the tensor of a renamed key cannot change a weight of this shape; None if it can."""
    module, part = _KEY.fullmatch(key).groups()
    shape, partner = lora[key].shape, _UPS.get(part) or _DOWNS.get(part)
    if partner is not None and f"{module}.{partner}" not in lora:
        return f"{key} has no {partner} beside it"
    fits = True
    if part in _UPS:
        fits = shape[1:].numel() == weight[1:].numel()
    elif part in _DOWNS:
        fits = shape[:1] == weight[:1] and shape[1:].numel() == lora[f"{module}.{partner}"].shape[:1].numel()
    elif part in (*_WEIGHTS, *_BIASES):
        fits = shape == weight
    return None if fits else f"{key} is {_size(shape)}, the weight {_size(weight)}"


def _size(shape: Size) -> str:
    return " x ".join(map(str, shape))
