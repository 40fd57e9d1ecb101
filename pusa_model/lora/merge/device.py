"""Where LoRAs are merged: on ComfyUI's GPU, else on the CPU."""

from __future__ import annotations

import comfy.model_management
import torch

CPU = torch.device("cpu")
_NEEDED = 2**30  # bytes; the largest weight of Wan 14B takes 0.4 GB


def merge_device() -> torch.device:
    """ComfyUI's device if it is of a kind that PyTorch calls cuda (NVIDIA, AMD), with room made on it; the CPU otherwise."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cuda":
        return CPU
    comfy.model_management.free_memory(_NEEDED, device)
    return device


def device_name(device: torch.device) -> str:
    """What the metadata call it: ``cpu``, or ``cuda`` with the name of the card."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
