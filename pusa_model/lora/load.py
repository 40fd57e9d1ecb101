"""LoRA files on a Wan MODEL, through ComfyUI's patcher: what does not fit, or does not belong there, is refused in words."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import comfy.lora
import comfy.sd
from torch import Size, Tensor

from ...schedulers import InputError
from ..families.lookup import check_model, model_file
from ..families.table import sized
from .file import check_values, read_tensors, rename_keys
from .merged import merged_loras, refuse_merged, sha256
from .on_model import adapters_on, facing, keys_of, same_update
from .provenance import AppliedLora, expert_of, is_distilled, remember

_UPS = {"lora_A.weight": "lora_B.weight", "lora_down.weight": "lora_up.weight"}
_DOWNS = {up: down for down, up in _UPS.items()}
_WEIGHTS, _BIASES = ("diff", "set_weight", "w_norm"), ("diff_b", "b_norm")
_PARTS = (*_UPS, *_DOWNS, *_WEIGHTS, *_BIASES, "alpha", "dora_scale")
_KEY = re.compile(rf"(.+?)\.({'|'.join(map(re.escape, _PARTS))})")
_OTHER_KINDS = {
    name: re.compile(pattern)
    for name, pattern in {"LoHa": r"\.hada_", "LoKr": r"\.lokr_", "OFT": r"\.b?oft_", "GLoRA": r"\.[ab][12]\.weight$"}.items()
}

_MODULATION = ".diff_m"
_WIDTHS = ("diffusion_model.patch_embedding.weight", "diffusion_model.x_embedder.proj.weight")  # Wan's and Mochi's: as long as wide
STRENGTH_ADVICE = (
    "The strength is {strength:g}; the Pusa authors recommend 1.3 to 1.6. Lower loses the given frames and may flash, higher "
    "moves less: their VBench-I2V total (dynamic degree) on Wan2.1 is 81.8 (61) at 1.0, 87.7 (66) at 1.4, 86.9 (41) at 1.7 and "
    "85.9 (32) at 2.0."
)


def load_lora(model, path: str, strength: float, warn: Callable[[str], None] = logging.warning):
    """Clone a MODEL with a LoRA file applied by ComfyUI's patcher.

    A file without alpha entries at strength s adds ``s * B @ A``, which is what the official ``lora_alpha`` s does: 1.4 there
    is 1.4 here. With alpha entries the patcher scales by alpha / rank on top, as LightX2V files need it.

    Args:
        model: ModelPatcher of a plain Wan text-to-video model.
        path: .safetensors, or a .pt/.pth/.ckpt/.bin that holds tensors only (read with weights-only unpickling).
        strength: factor on the update; 0 checks the file and leaves the model without it.
        warn: told, in words, what may be meant but is unusual.

    Raises:
        InputError: the strength is not finite, the file cannot be read as tensors, is of another kind than LoRA, a key of it
            matches no weight of the model in name or in size, a value is not finite, it is on the model already, or it is
            made for the other expert of Wan2.2.
    """
    if not math.isfinite(strength):
        raise InputError(f"`strength` is {strength}, which is not a number that a LoRA can be scaled by. The default is 1.4.")
    family = check_model(model)
    lora = without_modulation(rename_keys(read_tensors(path)), warn)
    weights = {name: parameter.shape for name, parameter in model.model.named_parameters()}
    check_fit(lora, comfy.lora.model_lora_keys_unet(model.model, {}), weights)
    check_values(lora)
    check_not_merged(path, model)
    check_expert(path, model_file(model))
    if strength and family.needs_lora and not is_distilled(path) and not 1.3 <= strength <= 2.0:
        warn(STRENGTH_ADVICE.format(strength=strength))
    if not strength:
        return model.clone()
    patched = comfy.sd.load_lora_for_models(model, None, lora, strength, 0.0)[0]
    added = {
        weight: [patches[-1][1]] for weight, patches in patched.patches.items() if len(patches) > len(model.patches.get(weight, ()))
    }
    check_new(added, path, model)
    keys = next((keys_of(adapter) for (adapter,) in added.values() if keys_of(adapter)), None)
    remember(patched, AppliedLora(Path(path).name, strength, keys))
    return patched


def without_modulation(lora: Mapping[str, Tensor], warn: Callable[[str], None]) -> dict[str, Tensor]:
    """Renamed keys less those for the modulation, of which the caller is told in words."""
    kept = {key: tensor for key, tensor in lora.items() if not key.endswith(_MODULATION)}
    if len(kept) < len(lora):
        warn(f"{len(lora) - len(kept)} modulation entries (diff_m) are left out: neither ComfyUI nor the official code uses them.")
    return kept


def check_new(added: Mapping[str, list], path: str, model) -> None:
    """Refuse a LoRA whose updates are on the model already, whichever node put them there, and in whichever precision.

    Args:
        added: the patch of each weight.

    Raises:
        InputError: the same update would be added twice.
    """
    if any(same_update(*pair) for pair in facing(added, adapters_on(model))):
        raise InputError(
            f"`lora_name`: {Path(path).name} is on this model already. A second time its strengths would add up, which shows "
            "as flashes. Remove one of the two loaders."
        )


def check_not_merged(path: str, model) -> None:
    """Refuse a LoRA that was merged into the file of the model.

    Raises:
        InputError: the same update would be added twice.
    """
    merged = merged_loras(model_file(model) or "")
    if merged:
        refuse_merged(Path(path), sha256(Path(path)), merged)


def check_expert(path: str, base: str | None) -> None:
    """Refuse a LoRA for the other expert of Wan2.2, as far as the names of the two files tell.

    Raises:
        InputError: one name says high, the other low.
    """
    experts = expert_of(path), expert_of(base)
    if None not in experts and experts[0] != experts[1]:
        raise InputError(
            f"`lora_name`: {Path(path).name} is made for the {experts[0]}-noise expert of Wan2.2, the model is the "
            f"{experts[1]}-noise one ({Path(base).name}). Exchange the two LoRA files."
        )


def check_fit(lora: Mapping[str, Tensor], modules: Mapping[str, str], weights: Mapping[str, Size]) -> dict[str, str]:
    """Refuse renamed LoRA keys that ComfyUI's patcher would pass over with no more than a line in the log.

    Args:
        lora: tensors by renamed key; only their shapes are read.
        modules: the weight that each LoRA module name stands for, as ComfyUI maps them.
        weights: the shape of every weight and bias, by the same names.

    Returns:
        The weight or bias that each key changes.

    Raises:
        InputError: the file is of another kind than LoRA, a key matches no weight of the model, has another size, or is half
            of a pair.
    """
    targets = {key: _target(key, modules) for key in lora}
    unmatched = [key for key, target in targets.items() if target is None]
    if unmatched and (kind := _other_kind(lora)):
        raise InputError(
            f"`lora_name`: the file is a {kind}, a kind of LoRA that is not taken here. Its first key is "
            f"{unmatched[0]}. Use a plain LoRA, as the Pusa files are; ComfyUI's own Load LoRA takes this one."
        )
    if unmatched or not lora:
        raise InputError(
            f"`lora_name`: {len(unmatched)} of {len(lora)} keys of the file match no weight of this model that a LoRA can "
            "change, so it would be applied in part or not at all. First of them: "
            f"{', '.join(key[:100] for key in unmatched[:2]) or 'the file is empty'}. Use a LoRA made for this model."
        )
    misfits = [_misfit(key, lora, weights[target]) for key, target in targets.items()]
    misfits = [misfit for misfit in misfits if misfit is not None]
    if misfits:
        raise InputError(
            f"`lora_name`: {len(misfits)} of {len(lora)} keys of the file do not fit the weights of this model, whose width "
            f"is {_width(weights)}. {_made_for(lora)}First of them: "
            f"{'; '.join(misfit[:120] for misfit in misfits[:2])}. Use a LoRA made for this model."
        )
    return targets


def _target(key: str, modules: Mapping[str, str]) -> str | None:
    """Name of the weight or bias that a renamed key changes; None if the model has none.

    Parameters beside weights and biases (``modulation``) count as none: the patcher takes their patches and never loads them.
    """
    match = _KEY.fullmatch(key)
    target = modules.get(match[1], "") if match else ""
    if not target.endswith((".weight", ".bias")):
        return None
    return modules.get(target.removesuffix(".weight") + ".bias") if match[2] in _BIASES else target


def _other_kind(keys: Iterable[str]) -> str | None:
    """What a file without low-rank pairs is, by its keys: LoHa, LoKr, OFT or GLoRA; None if it is none of them."""
    if any(key.endswith((*_UPS, *_DOWNS)) for key in keys):
        return None
    return next((name for name, pattern in _OTHER_KINDS.items() if any(map(pattern.search, keys))), None)


def _misfit(key: str, lora: Mapping[str, Tensor], weight: Size) -> str | None:
    """Why the tensor of a renamed key cannot change a weight of this shape; None if it can."""
    module, part = _KEY.fullmatch(key).groups()
    shape, partner = lora[key].shape, _UPS.get(part) or _DOWNS.get(part)
    if partner is not None and f"{module}.{partner}" not in lora:
        return f"{key} has no {partner} beside it"
    fits = True
    if part in _UPS:
        fits = len(shape) > 1 and shape[0] > 0 and shape[1:].numel() == weight[1:].numel()
    elif part in _DOWNS:
        fits = shape[:1] == weight[:1] and shape[1:].numel() == lora[f"{module}.{partner}"].shape[:1].numel()
    elif part in (*_WEIGHTS, *_BIASES):
        fits = shape == weight
    elif part == "alpha":
        if shape.numel() != 1:
            return f"{key} is {_size(shape)}, one number is expected"
    elif part == "dora_scale":
        fits = len(shape) == len(weight) and shape in ((weight[0], *[1] * len(weight[1:])), (1, *weight[1:]))
    return None if fits else f"{key} is {_size(shape)}, the weight {_size(weight)}"


def _width(weights: Mapping[str, Size]) -> str:
    """The width of a network in words."""
    return sized(next(weights[name][0] for name in _WIDTHS if name in weights))


def _made_for(lora: Mapping[str, Tensor]) -> str:
    """The width of the networks that a LoRA is made for, in words; empty where no attention of a block tells."""
    widths = {
        tensor.shape[1] for key, tensor in lora.items() if ".self_attn.q." in key and key.endswith(tuple(_UPS)) and tensor.ndim > 1
    }
    return f"The file is made for {sized(widths.pop())}. " if len(widths) == 1 else ""


def _size(shape: Size) -> str:
    return " x ".join(map(str, shape))
