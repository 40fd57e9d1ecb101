"""How much disk and memory a run takes, and whether the machine has it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..card.memory import COMPUTER, GIB, call_bytes, kept_free
from ..card.networks import Video, Wan
from .files import File

SPARE = 0.05  # of the files, for folders and videos
DRAFT = 2.0  # GiB for tensors on their way into the process


@dataclass(frozen=True)
class Need:
    """What a run takes, in GiB.

    Attributes:
        disk: for the files.
        ram: for ComfyUI with all that it keeps, as the card table reckons with a card; without one, with what a CPU adds.
        call: what one call of the network takes beside its weights.
        vram: what ComfyUI keeps free for that call.
    """

    disk: float
    ram: float
    call: float
    vram: float


def need(files: Sequence[File], wan: Wan, video: Video, card: bool) -> Need:
    """What a graph with these files takes.

    The card table's RAM is that of all files and 4 GiB. On a CPU the weights are at work where they lie: ComfyUI keeps a second
    copy of every weight that a LoRA changes, and a call has its memory there too.
    """
    size = sum(file.size for file in files)
    call = call_bytes(wan, video) / GIB
    models = sum(file.size for file in files if file.folder == "diffusion_models")
    patched = models if any(file.folder == "loras" for file in files) else 0
    ram = size / GIB + COMPUTER + (0 if card else patched / GIB + 2 * call + DRAFT)  # float32 where a card has 16 bits
    return Need(size * (1 + SPARE) / GIB, ram, call, kept_free(wan, video, flash=card) / GIB)


def lacks(wanted: Need, folder: Path, available: float | None = None) -> str | None:
    """What a machine lacks, in a sentence or two; None where it has enough.

    Args:
        folder: where the files are to lie.
        available: GiB of RAM; None asks the system for what is free now.
    """
    free = shutil.disk_usage(folder).free / GIB
    memory = psutil.virtual_memory().available / GIB if available is None else available
    found = []
    if wanted.disk > free:
        told = f"The files take {wanted.disk:.1f} GiB, and {folder} has {free:.1f} GiB left"
        found.append(f"{told}: name another place with --folder.")
    if wanted.ram > memory:
        found.append(
            f"The run takes about {wanted.ram:.1f} GiB of RAM, and {memory:.1f} GiB are free: it needs a machine with "
            f"{math.ceil(wanted.ram)} GiB free. Less takes --stored-prompts (no text encoder), a smaller --size, or no --full."
        )
    return " ".join(found) or None
