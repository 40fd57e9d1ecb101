"""The run: six steps of a LoRA on the tiny Wan, with saves, validations, a best file and a table; what is whole, what the same."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from hosting.process import load_pack, pack_module

from ..host import Bench
from ..kills import finish
from ..material.victims import host
from ..tally import Tally

STEPS, SAVE_EVERY, VALIDATE_EVERY, CLIPS = 6, 2, 3, 5
OUT = "out"


def prepare(common: Path) -> None:
    """Load what all runs need, and encode their clips."""
    host()
    import torch

    load_pack()
    for name in ("train", "loop", "checks", "watch.watcher"):
        pack_module(f"training.{name}")
    with pack_module("training.store").StoreWriter(common / "store") as store:
        for index in range(CLIPS):
            latent = torch.linspace(-1, 1 + index, 16 * 3 * 4 * 4).view(16, 3, 4, 4)
            store.add(f"{index}.mp4", latent, f"caption {index % 2}", torch.full((3, 4096), float(index % 2)))


def run(common: Path, place: Path) -> int:
    """Train, or go on; returns the exit code of the command line."""
    random.seed(0)  # a process that is forked begins with a seed of its own, and checkpoints hold the state
    command = [str(common / "store"), "--model", str(common / "diffusion_models/pusa_tiny_wan.safetensors"), "--cpu"]
    command += ["--rank", "4", "--learning_rate", "1e-3", "--save_dtype", "fp32", "--mixed_precision", "no", "--resume", "auto"]
    command += ["--steps", str(STEPS), "--save_every", str(SAVE_EVERY), "--output", str(place / OUT)]
    command += ["--validate", "0.2", "--validate_every", str(VALIDATE_EVERY)]
    return pack_module("training.train").main(command)


def work(common: Path) -> Callable:
    """``run`` as a work of ``kills.Child``."""

    def begun(place: Path, begin: Callable) -> None:
        begin()
        if code := run(common, place):
            raise SystemExit(code)

    return begun


def undisturbed(bench: Bench, tally: Tally, folder: Path, make: Callable = work) -> tuple[Path, Path] | None:
    """What all runs need, and a run that nothing disturbs, each in a folder of its own; None, and a fault, if that run fails.

    Args:
        make: the run as a work of ``kills.Child``, out of the folder with what it needs.
    """
    common, reference = folder / "common", folder / "reference"
    shutil.copytree(bench.base / "models", common)
    prepare(common)
    reference.mkdir()
    good, _, printed = finish(make(common), reference)
    if not good:
        tally.fault("crash", -1, f"it does not run undisturbed:\n{printed[-1500:]}")
        return None
    return common, reference


def halves(place: Path, reference: Path) -> list[str]:
    """Files under their final names that are not whole, or hold another step than an undisturbed run writes."""
    import safetensors
    from safetensors.torch import load_file

    found = []
    for path in sorted((place / OUT).rglob("*")):
        try:
            if path.suffix == ".pt":
                pack_module("training.keeping.checkpoint").read_checkpoint(path)
            elif path.suffix == ".safetensors":
                load_file(path)
                if "_step" in path.name and path.read_bytes() != (reference / OUT / path.name).read_bytes():
                    found.append(f"{path.name} has other bytes")
        except (ValueError, OSError, safetensors.SafetensorError) as error:
            found.append(f"{path.name}: {error}")
    return found


def differing(place: Path, reference: Path) -> list[str]:
    """What a finished run has otherwise than an undisturbed one: files, the last checkpoint, the table but for its seconds."""
    there, wanted = place / OUT, reference / OUT
    found = [
        path.name
        for path in sorted(wanted.glob("*.safetensors"))
        if not (there / path.name).exists() or (there / path.name).read_bytes() != path.read_bytes()
    ]
    keeping = pack_module("training.keeping.checkpoint")
    last = [keeping.checkpoints(folder) for folder in (there, wanted)]
    if [path.name for path in last[0]] != [path.name for path in last[1]]:
        found.append(f"checkpoints {[path.name for path in last[0]]}")
    else:
        found += unlike(*(keeping.read_checkpoint(paths[-1]) for paths in last), last[0][-1].name)
    if table(there) != table(wanted):
        found.append("log.csv")
    return found


def unlike(one, other, where: str) -> list[str]:
    """The places in nested values that do not have the same bits."""
    import torch

    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    if isinstance(one, (list, tuple)):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, Mapping) and one.keys() == other.keys():
        return [found for key, value in one.items() for found in unlike(value, other[key], f"{where} {key}")]
    return [] if one == other else [where]


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of log.csv without the seconds."""
    if not (folder / "log.csv").exists():
        return []
    with open(folder / "log.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
