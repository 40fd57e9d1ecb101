"""Code of other packs in the way of a run, named so that a person finds the node."""

from __future__ import annotations

from pathlib import PurePath

import torch

FORWARDS = ("forward", "_forward", "forward_orig")


def foreign_forward(network: torch.nn.Module) -> str | None:
    """Whose code a network runs in place of its class's own forward, in words; None where it is ComfyUI's or compiled from it."""
    for name in FORWARDS:
        module = getattr(getattr(network, name, None), "__module__", None) or ""
        if module and not module.startswith(("comfy.", "torch.")):
            return pack_of(module)
    return None


def pack_of(module: str) -> str:
    """A module in words: ComfyUI names those of a custom node pack by their path, of which only the pack's folder is told."""
    parts = PurePath(module.replace("\\", "/")).parts
    if "custom_nodes" in parts[:-1]:
        return f"the node pack {parts[parts.index('custom_nodes') + 1].split('.')[0]}"
    return f"the module {parts[-1].split('.')[0]}"
