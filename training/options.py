"""The command line of stage 2. What a setting means and its default are those of ``Settings``."""

from __future__ import annotations

import argparse
from dataclasses import fields

import torch

from ..schedulers import InputError
from .settings import CHOICES, EXPERTS, Settings

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}
TARGETS = "q,k,v,o,ffn.0,ffn.2"
HELP = {
    "steps": "optimiser steps",
    "batch_size": "clips per forward pass and process",
    "accumulate": "forward passes per optimiser step",
    "learning_rate": "peak of the schedule",
    "lr_schedule": "linear and cosine fall to 0 at the last step",
    "warmup": "steps over which the rate rises",
    "weight_decay": "of AdamW",
    "grad_clip": "largest norm of the gradient; 0 is off",
    "mixed_precision": "bf16: matrix products in bfloat16 with float32 master weights",
    "activations": "dtype of the residual stream; bf16 halves its memory (default bf16 for a LoRA, fp32 for full)",
    "gradient_checkpointing": "keep one activation per block, compute the rest twice",
    "deterministic": "on a GPU, only kernels that give the same bits every time",
    "seed": "of everything that is drawn",
    "caption_dropout": "probability of the empty prompt",
    "timesteps": "vector: a level per latent frame; scalar: one per clip",
    "p_async": "PTSS: probability that the frames of a clip are drawn apart",
    "p_condition": "probability that a clip is drawn as it will be sampled: some frames at a multiple of the others' level",
    "shift": "of the distribution of levels",
    "sigma_min": "lowest level",
    "sigma_max": "highest level",
    "sigma_range": "the range holds for the highest level of a clip, or for every frame",
    "weighting": "none: the paper's loss; gaussian: per frame; official: as the official trainer reduces it",
    "save_every": "steps between checkpoints",
    "keep": "checkpoints kept (LoRA and model files all are)",
    "validate_every": argparse.SUPPRESS,  # of the Python interface
}
SPECIAL = ("activations", "sigma_min", "sigma_max", "validate_every")


def parser() -> argparse.ArgumentParser:
    """The command line: a setting of ``Settings`` is an option of the same name."""
    top = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Stage 2: train a LoRA, or the whole network, on encoded clips.",
        epilog="COMFYUI_PATH names the ComfyUI folder, the one with main.py. See training/README.md.",
        allow_abbrev=False,
    )
    top.add_argument("store", metavar="STORE", help="folder that python -m training.encode wrote")
    top.add_argument("--model", required=True, help="a Wan text-to-video model, any file that ComfyUI loads")
    top.add_argument("--output", required=True, help="folder for the trained files and the checkpoints")
    top.add_argument("--train_architecture", choices=("lora", "full"), default="lora", help="(default lora)")
    top.add_argument("--rank", type=int, default=512, help="of the LoRA (default 512)")
    top.add_argument("--alpha", type=float, help="scale of the LoRA (default: the rank, which makes the factor 1)")
    top.add_argument("--targets", default=TARGETS, help=f"linear layers of the blocks that get a LoRA (default {TARGETS})")
    top.add_argument("--expert", choices=EXPERTS, help="of Wan2.2: sets --sigma_min and --sigma_max to its range")
    top.add_argument("--resume", metavar="auto|FILE", help="go on from the newest checkpoint in --output, or from a file")
    top.add_argument("--preload", action="store_true", help="keep all clips in memory")
    top.add_argument("--save_dtype", choices=DTYPES, default="bf16", help="of the trained files (default bf16)")
    top.add_argument("--cpu", action="store_true", help="do not use a GPU")
    for field in fields(Settings):
        name, default, words = field.name, field.default, HELP[field.name]
        shown = words if name in ("activations", "validate_every") or default is False else f"{words} (default {default})"
        if default is False:
            top.add_argument(f"--{name}", action="store_true", help=shown)
        else:
            choices = CHOICES.get(name)
            top.add_argument(
                f"--{name}", type=type(default), choices=choices, default=None if name in SPECIAL else default, help=shown
            )
    return top


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings of a command line.

    Raises:
        InputError: a value is out of its range, or --expert meets a range that is given too.
    """
    values = {field.name: getattr(arguments, field.name) for field in fields(Settings)}
    given = {name: value for name, value in values.items() if value is not None}
    if arguments.expert:
        if {"sigma_min", "sigma_max"} & given.keys():
            raise InputError("--expert sets the range of levels; leave --sigma_min and --sigma_max out, or --expert.")
        given["sigma_min"], given["sigma_max"] = EXPERTS[arguments.expert]
    lora = arguments.train_architecture == "lora"
    if lora and arguments.rank < 1:
        raise InputError(f"`rank` is {arguments.rank}; it must be 1 or more.")
    given.setdefault("activations", "bf16" if lora and given["mixed_precision"] == "bf16" else "fp32")
    return Settings(**given)
