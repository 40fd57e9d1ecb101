"""The network of a MODEL that a graph holds, as something to train."""

from __future__ import annotations

import hashlib

import torch
from comfy.quant_ops import QuantizedTensor
from torch import Tensor

from ...pusa_model.storage.tensor_hash import tensor_hash
from ...schedulers import InputError
from ..method.network import network_to_train


def copied(model) -> torch.nn.Module:
    """The network of a MODEL, loaded again with the MODEL's LoRAs in its weights, as something to train.

    The one that a graph holds cannot be trained: other nodes use it, and what ComfyUI loads in its inference mode has no gradient.
    Call this outside of that mode.

    Raises:
        InputError: its loader has not told ComfyUI how to load it again, its weights are of another pack's kind, or it is no plain
            text-to-video network.
    """
    if getattr(model, "cached_patcher_init", None) is None:
        raise InputError(
            "`model` comes from a loader that cannot load it a second time for the training, such as one for GGUF files. Use Load "
            "Model (Pusa) or Load Diffusion Model."
        )
    again = model.clone(disable_dynamic=True, force_deepcopy=True)
    network = network_to_train(again)
    for name, parameter in network.named_parameters():
        if type(parameter.data) is not Tensor and not isinstance(parameter, QuantizedTensor):
            raise InputError(f"`model` has weights that another pack keeps in a form of its own ({name}); use a plain or fp8 file.")
    with torch.no_grad():
        for key in list(again.patches):
            again.patch_weight_to_device(key)
    again.backup.clear()
    for module in network.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = True  # as `load_weights` has it: weights of any dtype
    return network.requires_grad_(False)


def weights_hash(network: torch.nn.Module) -> str:
    """SHA-256 of the weights of a network, of which at most a MiB of each is read."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tensor_hash(getattr(parameter.data, '_qdata', parameter.data), 2**20)}\n".encode())
    return digest.hexdigest()
