"""The small text-to-video model: ComfyUI's Wan2.1 at a small size, which only ever sees one timestep per clip.

Run as `python -m training.nano base LATENTS.safetensors OUTPUT.safetensors`.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import comfy.ops
import torch
from comfy.ldm.wan.model import WanModel
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..files import write_tensors
from ..loop import Result, train
from ..method.network import load_weights
from ..settings import Settings
from . import words
from .latents import load_dataset
from .optimizer import MuonAdamW

SHAPE = {"dim": 192, "ffn_dim": 768, "num_layers": 6}
TOLD = {"num_heads": 4, "text_dim": words.WIDTH}  # what ComfyUI cannot read from the shapes of the weights
METADATA = {"format": "pt", "config": json.dumps({"transformer": TOLD})}
SETTINGS = Settings(
    steps=7500,
    batch_size=16,
    learning_rate=2e-3,
    lr_schedule="cosine",
    warmup=200,
    grad_clip=1.0,
    caption_dropout=0.1,
    timesteps="scalar",
    shift=3.0,
    save_every=750,
    seed=0,
)
# (share of the scenes, settings), one after the other: warm restarts, on more scenes and on higher levels, where motion is made
CYCLES = (
    (0.5, SETTINGS),
    (1.0, replace(SETTINGS, steps=10000, learning_rate=1.5e-3, shift=5.0, seed=1)),
    (1.0, replace(SETTINGS, steps=5000, learning_rate=1e-3, shift=5.0, seed=2)),
    (1.0, replace(SETTINGS, steps=3500, learning_rate=1.5e-3, shift=5.0, seed=3)),
)


def new_weights(seed: int) -> dict[str, torch.Tensor]:
    """State dict of a small WanModel as it begins: every block adds nothing yet, and the network says 0."""
    network = WanModel(in_dim=16, out_dim=16, **SHAPE, **TOLD, dtype=torch.float32, operations=comfy.ops.manual_cast)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, like in network.state_dict().items():
        if name.endswith("modulation"):
            weights[name] = torch.randn(like.shape, generator=generator) / math.sqrt(like.shape[-1])
        elif like.ndim == 1:
            weights[name] = torch.full(like.shape, float(name.endswith("weight")))  # norms 1, biases 0
        elif name == "head.head.weight":
            weights[name] = torch.zeros(like.shape)
        else:
            weights[name] = torch.randn(like.shape, generator=generator) / math.sqrt(like[0].numel())
    return weights


def main(arguments: list[str]) -> int:
    """Train, with a checkpoint and a usable file every 750 steps; a run that was stopped goes on."""
    data, output = map(Path, arguments)
    network, done = load_weights(new_weights(SETTINGS.seed), METADATA, full=True), 0

    def save(network: torch.nn.Module, result: Result) -> None:
        weights = {name: value.half() for name, value in network.state_dict().items()}
        write_tensors(output, weights, METADATA | {"steps": str(done + result.step)})

    with sdpa_kernel(SDPBackend.MATH):  # on a CPU, at 144 tokens: a third less time for a step
        for number, (share, settings) in enumerate(CYCLES, 1):
            dataset, folder = load_dataset(data, share), output.with_suffix("") / f"cycle-{number}"
            train(network, dataset, settings, folder, resume="auto", optimizer=MuonAdamW, on_save=save)
            done += settings.steps
    return 0
