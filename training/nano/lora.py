"""The small Pusa LoRA: vectorized timestep adaptation of the small model, by the trainer that adapts Wan 14B.

Run as `python -m training.nano lora LATENTS.safetensors BASE.safetensors OUTPUT.safetensors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..loop import Result, train
from ..method.lora import add_lora
from ..method.network import load_base
from ..method.timesteps import draw_levels
from ..output import save_trained
from ..settings import Settings
from .latents import load_dataset
from .optimizer import MuonAdamW
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
BEGUN, LATENTS = 0.6, (2, 5)  # share of clips that go on from a clean beginning, and how long it is


def begun_levels(settings: Settings, batch: int, frames: int, generator: Generator) -> Tensor:
    """Noise levels [batch, frames] like those of ``draw_levels``, but for clips with 0 at the beginning and one high level behind.

    How fast a thing moves stands in the given frames and nowhere else, and is needed at the highest levels, where its course
    is made. Until it had seen enough of such clips, the model went on at the mean speed of the motion instead.
    """
    usual = draw_levels(settings, batch, frames, generator)
    high = replace(settings, timesteps="scalar", p_condition=0.0, shift=2 * settings.shift)
    level = draw_levels(high, batch, frames, generator)
    count = torch.randint(LATENTS[0], LATENTS[1] + 1, (batch, 1), generator=generator)
    begun = torch.where(torch.arange(frames) < count, 0.0, level)
    return torch.where(torch.rand(batch, 1, generator=generator) < BEGUN, begun, usual)


@dataclass(frozen=True)
class Cycle:
    """One part of the training; the next one begins with its weights and with a new optimiser, AdamW if none is given."""

    settings: Settings
    levels: Callable = draw_levels
    optimizer: Callable | None = None


CYCLES = (
    Cycle(SETTINGS),
    Cycle(replace(SETTINGS, steps=4000, learning_rate=1.5e-3, p_condition=0.85, seed=1)),  # more clips as they are sampled
    Cycle(replace(SETTINGS, steps=3500, learning_rate=3e-3, p_condition=0.85, seed=2), begun_levels, MuonAdamW),
    # one clip in six with one level for all frames, so that words alone keep their effect
    Cycle(replace(SETTINGS, steps=700, learning_rate=1e-3, p_condition=0.5, p_async=0.2, seed=3), begun_levels, MuonAdamW),
)


def main(arguments: list[str]) -> int:
    """Train, with a checkpoint and a usable file every 500 steps; a run that was stopped goes on."""
    data, source, output = map(Path, arguments)
    dataset, base = load_dataset(data), load_base(source)
    base.network.float()
    add_lora(base.network, RANK)
    done = 0

    def save(network: torch.nn.Module, result: Result) -> None:
        record = {"base": PLACES["base"], "rank": RANK, "steps": done + result.step, "dataset_hash": dataset.hash}
        record["settings"] = [cycle.settings.as_dict() for cycle in CYCLES]
        save_trained(output, base, record, torch.float16, lora=True)

    with sdpa_kernel(SDPBackend.MATH):  # see base.py
        for number, cycle in enumerate(CYCLES, 1):
            folder, how = output.with_suffix("") / f"cycle-{number}", {"optimizer": cycle.optimizer, "levels": cycle.levels}
            train(base.network, dataset, cycle.settings, folder, resume="auto", on_save=save, **how)
            done += cycle.settings.steps
    return 0
