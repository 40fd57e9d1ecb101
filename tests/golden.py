"""Reference runs of the official Pusa code on a tiny network: see assets/golden/index.json.

PUSA_GOLDEN may point to another folder of the same form, for example with more tasks.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import comfy.latent_formats
import tiny
import torch
from safetensors.torch import load_file

FOLDER = Path(os.environ.get("PUSA_GOLDEN", Path(__file__).resolve().parent.parent / "assets" / "golden"))
INDEX = json.loads((FOLDER / "index.json").read_text())


@dataclass
class Reference:
    """One variant of one task: what went in, and the official result."""

    task: dict
    variant: dict
    tensors: dict[str, torch.Tensor]
    final: torch.Tensor
    timesteps: torch.Tensor

    def __getattr__(self, name):
        return self.task[name]

    @property
    def cfg(self) -> float:
        return self.variant["cfg_scale"]

    @property
    def positive(self):
        return [[self.tensors["ctx_pos"], {}]]

    @property
    def negative(self):
        return [[self.tensors["ctx_neg"], {}]]

    @property
    def latent(self):
        return {"samples": torch.zeros(self.task["latent_shape"])}

    @property
    def frames(self):
        """The condition frames in the scale of a ComfyUI LATENT."""
        return comfy.latent_formats.Wan21().process_out(self.tensors["cond"])

    def error(self, latent: torch.Tensor) -> float:
        """Largest difference to the official result, in the network's own scale."""
        return (comfy.latent_formats.Wan21().process_in(latent) - self.final).abs().max().item()


def variants(truncated: bool) -> list[tuple[str, str]]:
    """(task, variant) of every reference run, with or without the official integer truncation of timesteps."""
    found = []
    for task in INDEX["tasks"]:
        for name, variant in description(task)["variants"].items():
            if variant["integer_truncation"] == truncated:
                found.append((task, name))
    return found


def description(task: str) -> dict:
    return json.loads((FOLDER / f"{task}.json").read_text())


def reference(task: str, variant: str) -> Reference:
    about = description(task)
    tensors = load_file(FOLDER / INDEX["tasks"][task]["file"])
    return Reference(about, about["variants"][variant], tensors, tensors[f"{variant}/final"], tensors[f"{variant}/timesteps"])


def weights(low_noise: bool = False) -> dict[str, torch.Tensor]:
    """The reference network in float32; the low-noise expert is the same with every block rolled by one."""
    stored = load_file(FOLDER / INDEX["weights"]["file"])
    full = {key: value.float() for key, value in stored.items()}
    if not low_noise:
        return full
    return {key: torch.roll(value, 1, 0) if key.startswith("blocks.") else value for key, value in full.items()}


def model(low_noise: bool = False):
    return tiny.wan_model(weights(low_noise))
