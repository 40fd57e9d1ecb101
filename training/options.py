"""The command line of stage 2. What a setting means and its default are those of ``Settings``."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import fields

import torch

from ..schedulers import InputError
from .settings import CHOICES, EXPERTS, Settings

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}
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
    "validate_every": "steps between validations, with --validate (default 100)",
    "optimizer": "adamw, adamw8bit, paged_adamw8bit, lion8bit, ao_adamw8bit, ao_adamw4bit, adafactor, sgd, or package.module:Class",
    "ema": "decay of a running mean of the weights, which is what is saved; 0 is off",
    "offload_activations": "keep activations in RAM, with --gradient_checkpointing",
    "blocks_on_cpu": "blocks whose frozen weights stay in RAM until they are used, with --gradient_checkpointing",
    "base_dtype": "linear layers of the blocks as the file has them, or in 8 or 4 bits (bitsandbytes); for a LoRA (default file)",
}
ALIASES = {"learning_rate": ["--lr"], "steps": ["--max_steps"]}  # names of other trainers for the same
LORA_DEFAULTS = {"rank": 512, "alpha": None, "targets": None}  # of a LoRA
SPECIAL = ("activations", "sigma_min", "sigma_max", "validate_every", "base_dtype")  # whether they are given is asked


def parser() -> argparse.ArgumentParser:
    """The command line: a setting of ``Settings`` is an option of the same name."""
    top = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Stage 2: train a LoRA, or the whole network, on encoded clips.",
        epilog="COMFYUI_PATH names the ComfyUI folder, the one with main.py. See training/README.md.",
        allow_abbrev=False,
    )
    top.add_argument("store", metavar="STORE", nargs="*", help="folder that python -m training.encode wrote; several are mixed")
    top.add_argument("--data_root", metavar="STORE", action="append", default=[], help="the same as an option")
    top.add_argument("--repeats", metavar="N[,N]", help="how often an epoch shows the clips of each STORE (default 1)")
    top.add_argument("--model", "--base_model", required=True, help="text-to-video model of Wan, or Mochi, as ComfyUI loads it")
    top.add_argument("--output", "--output_dir", required=True, help="folder for the trained files and the checkpoints")
    top.add_argument("--train_architecture", choices=("lora", "full"), default="lora", help="(default lora)")
    top.add_argument("--rank", type=int, default=512, help="of the LoRA (default 512)")
    top.add_argument("--alpha", type=float, help="scale of the LoRA (default: the rank, which makes the factor 1)")
    top.add_argument("--targets", help="linear layers of the blocks that get a LoRA (default, of Wan: q,k,v,o,ffn.0,ffn.2)")
    top.add_argument("--expert", choices=EXPERTS, help="of Wan2.2: sets --sigma_min and --sigma_max to its range")
    top.add_argument("--resume", metavar="auto|CHECKPOINT", help="go on from the newest checkpoint in --output, or from one")
    top.add_argument("--init_lora", metavar="FILE", help="LoRA to begin from; with --train_architecture full it is built in first")
    top.add_argument("--init", metavar="FILE", help="full training: a file of the same network to begin from")
    top.add_argument("--validate", metavar="STORE|SHARE", help="clips to validate on: a store, or the share that is held out")
    top.add_argument("--validate_clips", type=int, help="of them are used; each costs 12 forward passes (default 4)")
    top.add_argument("--log_with", metavar="NAME[,NAME]", help="trackers of accelerate: tensorboard, wandb, ...")
    top.add_argument("--memory", metavar="24G", help="GPU memory: chooses what of the options above makes the run fit")
    top.add_argument("--preload", action="store_true", help="keep all clips in memory")
    top.add_argument("--save_dtype", choices=DTYPES, default="bf16", help="of the trained files (default bf16)")
    top.add_argument("--cpu", action="store_true", help="do not use a GPU")
    for field in fields(Settings):
        name, default, words = field.name, field.default, HELP[field.name]
        shown = words if default is False or "(default" in words else f"{words} (default {default})"
        if default is False:
            top.add_argument(f"--{name}", action="store_true", help=shown)
        else:
            choices = CHOICES.get(name)
            shown_default = None if name in SPECIAL else default
            names = [f"--{name}", *ALIASES.get(name, ())]
            top.add_argument(*names, dest=name, type=type(default), choices=choices, default=shown_default, help=shown)
    return top


def stores_of(arguments: argparse.Namespace) -> list[str]:
    """The stores to train on.

    Raises:
        InputError: there is none.
    """
    stores = [*arguments.store, *arguments.data_root]
    if not stores:
        raise InputError("no STORE is given; python -m training.encode makes one.")
    return stores


def repeats_of(arguments: argparse.Namespace) -> list[int] | None:
    """How often an epoch shows each store; None if nothing is said.

    Raises:
        InputError: these are no whole numbers.
    """
    if arguments.repeats is None:
        return None
    try:
        return [int(part) for part in arguments.repeats.split(",")]
    except ValueError:
        raise InputError(f"`repeats` is {arguments.repeats}; give a whole number for each store, for example 1,3.") from None


def memory_of(arguments: argparse.Namespace) -> float | None:
    """Bytes of --memory; None if it is not given.

    Raises:
        InputError: it is no number of gigabytes.
    """
    if arguments.memory is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:G|GB|GiB)?", arguments.memory.strip(), re.IGNORECASE)
    if not match or not float(match[1]):
        raise InputError(f"`memory` is {arguments.memory}; give the gigabytes of the GPU, for example 24G.")
    return float(match[1]) * 1e9


def targets_of(arguments: argparse.Namespace) -> list[str] | None:
    """The linear layers that get a LoRA; None for those of the family."""
    return [target.strip() for target in arguments.targets.split(",")] if arguments.targets is not None else None


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings of a command line.

    Raises:
        InputError: a value is out of its range, empty or without an effect, or --expert meets a range that is given too.
    """
    for name, value in vars(arguments).items():
        if value == "" or "" in (value if isinstance(value, list) else ()):
            raise InputError(f"`{name}` is empty; give a value, or leave it out.")
    values = {field.name: getattr(arguments, field.name) for field in fields(Settings)}
    given = {name: value for name, value in values.items() if value is not None}
    if arguments.expert:
        if {"sigma_min", "sigma_max"} & given.keys():
            raise InputError("--expert sets the range of levels; leave --sigma_min and --sigma_max out, or --expert.")
        given["sigma_min"], given["sigma_max"] = EXPERTS[arguments.expert]
    lora = arguments.train_architecture == "lora"
    if lora and (arguments.rank < 1 or not 0 < (1 if arguments.alpha is None else arguments.alpha) < math.inf):
        raise InputError(
            f"`rank` is {arguments.rank} and `alpha` {arguments.alpha}; the rank must be 1 or more, alpha a number above 0."
        )
    for name in ("validate_every", "validate_clips") if arguments.validate is None else ():
        if getattr(arguments, name):
            raise InputError(f"--{name} has no effect without --validate, which names the clips.")
    if arguments.validate is not None and arguments.validate_every == 0:
        raise InputError("--validate has no effect with --validate_every 0; leave both out to train without a validation.")
    if arguments.validate is not None:
        given.setdefault("validate_every", 100)
    if arguments.validate_clips is not None and arguments.validate_clips < 1:
        raise InputError(f"`validate_clips` is {arguments.validate_clips}; it must be 1 or more.")
    if arguments.init and lora:
        raise InputError("--init is of --train_architecture full; for a LoRA, give that file as --model, or a LoRA as --init_lora.")
    given.setdefault("activations", "bf16" if lora and given["mixed_precision"] == "bf16" else "fp32")
    return Settings(**given)
