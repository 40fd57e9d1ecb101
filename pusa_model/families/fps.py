"""The frame rate that SkyReels-V2 DF 1.3B is told, which ComfyUI leaves out when it loads the file.

The file has an embedding of two rows, for 16 frames per second and for any other rate, and a projection of it to the six
modulations of every block. What is added is one vector for a whole run, so it goes onto the bias of the network's own
``time_projection``, as a patch of ComfyUI's: offloaded and undone like a LoRA.

Source: SkyReels-V2 (arXiv 2504.13074), ``inject_sample_info`` of its network.
"""

from __future__ import annotations

import logging

import safetensors
import torch
from torch import Tensor

from ...schedulers import InputError

RATES = (24, 16)
KEYS = ("fps_embedding.weight", *(f"fps_projection.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")))
BIAS = "diffusion_model.time_projection.1.bias"
ATTACHMENT = "pusa_fps"


def fps_weights(path: str) -> dict[str, Tensor] | None:
    """The tensors of the frame rate in a model file, under their bare names; None in a file that has none.

    Raises:
        InputError: some of them are missing.
    """
    if not path.endswith((".safetensors", ".sft")):
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        found = {key.removeprefix("model.").removeprefix("diffusion_model."): key for key in file.keys() if "fps_" in key}
        if KEYS[0] not in found:
            return None
        missing = [key for key in KEYS if key not in found]
        if missing:
            raise InputError(f"the model file has `{KEYS[0]}` but not `{missing[0]}`; it is damaged or cut short.")
        return {key: file.get_tensor(found[key]).float() for key in KEYS}


def with_fps(model, weights: dict[str, Tensor], rate: int):
    """A clone of a MODEL that is told its frame rate.

    Args:
        weights: of ``fps_weights``.
        rate: 16 or 24.

    Raises:
        InputError: another rate, or weights that do not fit the network.
    """
    if rate not in RATES:
        raise InputError(f"`fps` is {rate}; the model knows {RATES[0]} and {RATES[1]}.")
    embedded = weights["fps_embedding.weight"][int(rate != 16)]
    hidden = torch.nn.functional.silu(torch.nn.functional.linear(embedded, *_layer(weights, 0)))
    vector = torch.nn.functional.linear(hidden, *_layer(weights, 2))
    bias = model.model.state_dict()[BIAS]
    if vector.shape != bias.shape:
        raise InputError(f"the frame rate of the model file has {vector.shape[0]} numbers, its network takes {bias.shape[0]}.")
    patched = model.clone()
    patched.add_patches({BIAS: ("diff", (vector,))})
    patched.set_attachments(ATTACHMENT, rate)
    logging.info("Load Model (Pusa): the model is told %d frames per second.", rate)
    return patched


def _layer(weights: dict[str, Tensor], index: int) -> tuple[Tensor, Tensor]:
    return weights[f"fps_projection.{index}.weight"], weights[f"fps_projection.{index}.bias"]
