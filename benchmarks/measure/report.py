"""What a measurement prints: tables in Markdown, each with the limits that its figures are held to."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from hosting.process import has_gpu, start_comfyui

from .side_by_side import LEAST, Times

UNKNOWN = "not measured"
MOST_DOUBT = 0.02


@dataclass(frozen=True)
class Limit:
    """A figure that must not be above a number.

    Attributes:
        doubt: how far the figure may be off; above 0.02 nothing is said to be kept.
    """

    what: str
    value: float
    most: float
    doubt: float = 0.0

    @property
    def kept(self) -> bool:
        return self.value <= self.most and self.doubt <= MOST_DOUBT

    def __str__(self) -> str:
        verdict = "undecided, the machine was too busy" if self.doubt > MOST_DOUBT else "yes" if self.kept else "NO"
        doubt = f" +- {self.doubt:.1g}" if self.doubt else ""
        return f"{self.what}: {self.value:.4g}{doubt}, at most {self.most:g}: **{verdict}**."


@dataclass(frozen=True)
class Table:
    """Rows of words under a title; the limits and notes stand below."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    limits: tuple[Limit, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        below = [*map(str, self.limits), *self.notes]
        return "\n".join([f"## {self.title}", "", *("| " + " | ".join(line) + " |" for line in lines), "", *with_space(below)])


PART = re.compile(r"^<!-- (\w+) -->\n", re.M)  # before the tables of a measurement


def with_part(written: str, name: str, text: str, head: str, names: Iterable[str]) -> str:
    """A page with the tables of a measurement in their place, instead of older ones.

    Args:
        written: the page so far; what stands before its first part is replaced by ``head``.
        names: of all measurements, in the order of the page; parts of other names are left out.
    """
    _, *parts = PART.split(written)
    known = dict(zip(parts[::2], parts[1::2])) | {name: text}
    return "\n\n".join([head, *(f"<!-- {each} -->\n\n{known[each].strip()}" for each in names if each in known)]) + "\n"


def with_space(lines: Iterable[str]) -> list[str]:
    """Each line a paragraph."""
    return [part for line in lines for part in (line, "")]


TIME_HEADS = ["time", "ratio", "round by round"]
FINE_HEADS = [*TIME_HEADS, "by the rest"]
MEMORY_HEADS = ["peak memory", "ratio"]


def time_cells(times: Times, name: str, base: str | None = None) -> list[str]:
    """Median time; median over median; median and middle half of the ratios of all rounds."""
    rounds = times.rounds(name, base)
    low, middle, high = statistics.quantiles(rounds, n=4)
    spread = f"{middle:.3f} ({low:.3f} to {high:.3f}), {len(rounds)}"
    return [f"{times.median(name):.3g} s", f"{times.ratio(name, base):.3f}", spread]


def fine_cells(times: Times, name: str) -> list[str]:
    """The same, and the ratio by what the calls do otherwise with how far it may be off; that is left out without products."""
    share, doubt = times.judged(name)
    return [*time_cells(times, name), f"{share:.4f} +- {doubt:.4f}" if times.products else ""]


def memory_cells(memory: dict[str, int | None], name: str, base: str | None = None) -> list[str]:
    """Peak, and its ratio to that of the base."""
    share = memory_ratio(memory, name, base)
    return [UNKNOWN, ""] if share is None else [f"{memory[name] / 2**20:.0f} MiB", f"{share:.3f}"]


def memory_ratio(memory: dict[str, int | None], name: str, base: str | None = None) -> float | None:
    """Peak over the peak of the base, the first one if none is named; None where it was not measured."""
    other = memory[base or next(iter(memory))]
    return None if other is None or memory[name] is None else memory[name] / other


def hardware() -> str:
    """Device, memory and versions in one line."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        device = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    else:
        device = f"{processor()}, {torch.get_num_threads()} threads"
        if hasattr(os, "sysconf"):
            device += f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    from comfyui_version import __version__ as comfyui

    versions = {"ComfyUI": comfyui, "PyTorch": torch.__version__, "diffusers": package("diffusers")}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{device}; {platform.system()}, Python {platform.python_version()}, {told}"


def processor() -> str:
    """What the CPU calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def package(name: str) -> str:
    """Version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The options of every measurement."""
    top = argparse.ArgumentParser(prog=f"dev.py bench {name}".rstrip(), description=about.splitlines()[0], allow_abbrev=False)
    top.add_argument("--rounds", type=int, default=LEAST, help=f"measured runs of each, more until they agree (default {LEAST})")
    top.add_argument("--layers", type=int, help="blocks of the network (default: 2 on a CPU, as many as fit on a GPU)")
    top.add_argument("--size", help="for timesteps, relatives, runs, attention: this size of clips only, as '832 x 480, 81 frames'")
    top.add_argument("--quick", action="store_true", help="a small network, to see that everything runs; the figures mean nothing")
    return top


def main(name: str, about: str, tables: Callable[[argparse.Namespace], Iterable[Table]], argv: list[str]) -> int:
    """Print the tables of a measurement; returns 1 if a figure is above its limit.

    ComfyUI is started with PyTorch's attention, which it takes on a GPU anyway (`--use-pytorch-cross-attention`).

    Args:
        tables: yields them, with ComfyUI started and inside ``torch.inference_mode``.
    """
    arguments = parser(name, about).parse_args(argv)
    start_comfyui(cpu=not has_gpu())
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True
    import comfy.utils

    comfy.utils.set_progress_bar_enabled(False)
    kept = True
    with torch.inference_mode():
        for table in tables(arguments):
            print(table, flush=True)
            kept = kept and all(limit.kept for limit in table.limits)
    return 0 if kept else 1
