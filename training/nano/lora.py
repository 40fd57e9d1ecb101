"""The small Pusa LoRA: vectorized timestep adaptation of the small model, by the trainer that adapts Wan 14B.

Run as `python -m training.nano lora LATENTS.safetensors BASE.safetensors OUTPUT.safetensors`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..loop import Result, train
from ..lora import add_lora
from ..network import load_base
from ..output import save_trained
from ..settings import Settings
from .latents import load_dataset
from .ship import PLACES

RANK = 32
SETTINGS = Settings(
    steps=5000,
    batch_size=16,
    learning_rate=2e-3,
    lr_schedule="cosine",
    warmup=100,
    grad_clip=1.0,
    caption_dropout=0.1,
    timesteps="vector",
    p_condition=0.7,
    p_async=0.7,
    shift=5.0,
    save_every=500,
    seed=0,
)
# One after the other: a warm restart, with more clips as they are sampled
CYCLES = (SETTINGS, replace(SETTINGS, steps=4000, learning_rate=1.5e-3, p_condition=0.85, seed=1))


def main(arguments: list[str]) -> int:
    """Train, with a checkpoint and a usable file every 500 steps; a run that was stopped goes on."""
    data, source, output = map(Path, arguments)
    dataset, base = load_dataset(data), load_base(source)
    base.network.float()
    add_lora(base.network, RANK)
    done = 0

    def save(network: torch.nn.Module, result: Result) -> None:
        record = {"base": PLACES["base"], "rank": RANK, "steps": done + result.step, "dataset_hash": dataset.hash}
        record["settings"] = [settings.as_dict() for settings in CYCLES]
        save_trained(output, base, record, torch.float16, lora=True)

    with sdpa_kernel(SDPBackend.MATH):  # see base.py
        for number, settings in enumerate(CYCLES, 1):
            train(base.network, dataset, settings, output.with_suffix("") / f"cycle-{number}", resume="auto", on_save=save)
            done += settings.steps
    return 0
