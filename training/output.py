"""What a training run leaves for ComfyUI: a LoRA, or a whole model, with a record of how it was made."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import torch

from ..hosting.process import ROOT
from .files import write_tensors
from .method.lora import lora_tensors
from .method.network import Base
from .processes.sharded import whole

METADATA = "pusa_training"


def save_trained(path: Path, base: Base, record: dict, dtype: torch.dtype, lora: bool, write: bool = True) -> None:
    """Write a file, complete or not at all.

    A LoRA goes to models/loras (Load Pusa LoRA, or ComfyUI's own loader), a whole model to models/diffusion_models; that one
    carries the metadata of its base along, of which ComfyUI reads ``config``.

    Args:
        path: a .safetensors file.
        base: the network that was trained, and where it came from.
        record: plain values for the metadata.
        dtype: of the tensors in the file; biases, norms and the like of a whole model too.
        lora: whether LoRA layers were trained.
        write: whether this process writes; where weights are spread over several, all gather them and one writes.
    """
    tensors = lora_tensors(base.network) if lora else base.network.state_dict()
    metadata = {} if lora else {key: value for key, value in base.metadata.items() if key != METADATA}
    metadata |= {METADATA: json.dumps({"version": pack_version()} | record, sort_keys=True)}
    write_tensors(path, tensors, metadata, dtype, partial(whole, keep=write), write)


def pack_version() -> str:
    """Version of the pack, from its pyproject.toml."""
    return re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
