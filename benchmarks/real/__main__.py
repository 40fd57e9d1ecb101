"""The first graph of each model on random files of the real names, shapes and dtypes, on whatever hardware is there.

Before a run it says how much room that takes; after it, load time, time of a step, and the peaks of RAM and of the card's memory
beside what the card table of README reckons with. Scratch is removed at the end. `--write` keeps the table in REAL.md.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from cli.client import ComfyError
from cli.flags.values import number
from cli.server import ComfyServer, ServerDied
from hosting.process import has_gpu, start_comfyui

from ..measure.report import Table, hardware, with_part
from .graphs import FIRST, files_of, graph_of, with_numbers, with_stored_prompts

PAGE = Path(__file__).parent.parent / "REAL.md"
SMALL = "256x160x9"  # without a card
PROMPTS = {word: f"real_{word}.safetensors" for word in ("positive", "negative")}
TOKENS = 64
HEAD = """\
# The ready graphs on files of the real size

Printed by `python dev.py bench real -- --write`: random numbers under the real names, in the real shapes and dtypes, so that the
videos mean nothing, and time and memory do. *Width*: `1.3B` is a network of Wan2.1 1.3B's widths in the place of every Wan, `full`
the real one; VAE and text encoder are the real ones in both. *Load*: from the queue to the sampler; the files were just written, so
the system may have them in memory. *First step*: with the weights' way to their place and the LoRAs onto them. *RAM*: the most that
the server had resident; *reckoned*: what the card table counts, all files and 4 GiB, and without a card what a CPU adds. *Card*:
the most that was in use; *reckoned*: one call, and what ComfyUI keeps free for it."""
HEADS = ["graph", "width", "video", "files", "load", "first step", "a step", "all", "RAM / reckoned", "card / reckoned"]


def options() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="dev.py bench real", description=__doc__.splitlines()[0], allow_abbrev=False)
    top.add_argument("--model", choices=FIRST, action="append", help="this one; give it again for another (default all)")
    top.add_argument("--full", action="store_true", help="the real widths: Wan 14B in fp8, 5B in 16 bits (default 1.3B)")
    top.add_argument("--quick", action="store_true", help="a small network, to see that everything runs; the figures mean nothing")
    text = f"WIDTHxHEIGHTxFRAMES of the video (default that of the graph on a card, {SMALL} without one)"
    top.add_argument("--size", type=size, help=text)
    text = "steps of the sampler (default those of the graph on a card, 3 without one)"
    top.add_argument("--steps", type=number(int, 1, 10000), help=text)
    top.add_argument("--stored-prompts", action="store_true", help="leave the text encoder out, 7 GB less")
    top.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files are written for a while")
    top.add_argument("--write", action="store_true", help="keep the table in benchmarks/REAL.md")
    return top


def size(text: str) -> tuple[int, int, int]:
    """Width, height and frames out of `832x480x81`."""
    try:
        width, height, frames = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no WIDTHxHEIGHTxFRAMES, such as 832x480x81") from None
    if min(width, height) < 32 or width % 32 or height % 32 or frames < 1 or frames % 4 != 1:
        raise argparse.ArgumentTypeError(f"`{text}`: width and height are multiples of 32, and frames are 4n + 1")
    return width, height, frames


def prepared(model: str, chosen: argparse.Namespace, card: bool) -> dict:
    """The graph of a model as it is run."""
    graph = graph_of(FIRST[model])
    numbers = {} if card else dict(zip(("width", "height", "length"), size(SMALL))) | {"steps": 3}
    if chosen.size:
        numbers |= dict(zip(("width", "height", "length"), chosen.size))
    if chosen.steps:
        numbers["steps"] = chosen.steps
    graph = with_numbers(graph, numbers)
    return with_stored_prompts(graph, PROMPTS) if chosen.stored_prompts else graph


def measured(model: str, chosen: argparse.Namespace, card: bool) -> list[str] | str:
    """The row of a model, or a sentence that says what the machine lacks for it.

    Raises:
        ComfyError, ServerDied: the run failed.
    """
    from ..card.networks import Video
    from .files import Numbers, file_of, network, write
    from .room import lacks, need

    width = "tiny" if chosen.quick else "full" if chosen.full else "1.3B"
    graph = prepared(model, chosen, card)
    files = [file_of(folder, name, width) for folder, name in files_of(graph)]
    sizes = next(node["inputs"] for node in graph.values() if isinstance(node["inputs"].get("length"), int))
    unet = next(file.name for file in files if file.folder == "diffusion_models")
    wan = network(unet, width)
    video = Video("", sizes["length"], sizes["width"], sizes["height"], side=16 if wan.channels == 48 else 8)
    wanted = need(files, wan, video, card)
    print(f"{model}: {wanted.disk:.1f} GiB on the disk, about {wanted.ram:.1f} GiB of RAM.", file=sys.stderr, flush=True)
    if lacking := lacks(wanted, chosen.folder):
        return lacking
    with tempfile.TemporaryDirectory(prefix="pusa_real_", dir=chosen.folder) as scratch:
        base = Path(scratch)
        write(base / "models", files, Numbers())
        write_prompts(base / "models" / "prompts")
        course, peaks = run(base, graph, card)
    written = sum(file.size for file in files) / 2**30
    step = "" if course.step is None else f"{course.step:.3g} s"
    return [
        FIRST[model], f"{width}, stored prompts" if chosen.stored_prompts else width,
        f"{video.width} x {video.height}, {video.frames} frames", f"{written:.1f} GiB",
        f"{course.loading:.1f} s", f"{course.first:.3g} s", step, f"{course.whole:.0f} s",
        f"{peaks.ram:.1f} / {wanted.ram:.1f} GiB",
        f"{peaks.vram:.1f} / {wanted.call:.1f} and {wanted.vram:.1f} GiB" if card else "",
    ]  # fmt: skip


def write_prompts(folder: Path) -> None:
    """Stored prompts of random features as wide as umT5's."""
    import torch
    from safetensors.torch import save_file

    from hosting.process import pack_module

    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(PROMPTS.values()):
        features = torch.randn(1, TOKENS, 4096, generator=torch.Generator().manual_seed(seed))
        tensors, metadata = pack_module("pusa_model.prompts.stored").pack_prompt([[features, {}]])
        save_file(tensors, folder / name, metadata)


def run(base: Path, graph: dict, card: bool) -> tuple:
    """Start a server on a base directory with the pack and run a graph; its course and the peaks of memory."""
    from devtools.places import prepare_base

    from .watch import Peaks, follow

    prepare_base(base)
    extra = [] if card else ["--cpu"]
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=extra) as server:
        with Peaks(server.url, server.pid) as peaks:
            return follow(server.url, graph), peaks


def main(argv: list) -> int:
    """Run the models; returns 1 if the machine has no room for one of them, or its run failed."""
    chosen = options().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # leaving by an exception removes scratch
    card = has_gpu()
    start_comfyui(cpu=not card)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows, refused = [], []
    for model in chosen.model or FIRST:
        try:
            found = measured(model, chosen, card)
        except (ComfyError, ServerDied) as error:  # such as a server that the system has killed for its memory
            found = str(error)
        if isinstance(found, str):
            refused.append(f"{model}: {found}")
            print(refused[-1], file=sys.stderr, flush=True)
        else:
            rows.append(found)
            if chosen.write and not chosen.quick:  # at once: the next one may be long
                keep(told(rows, refused, chosen.full), chosen.full, card)
    if rows:
        print(told(rows, refused, chosen.full), flush=True)
    return 1 if refused else 0


def told(rows: list, refused: list, full: bool) -> str:
    """The hardware and the table."""
    table = Table(f"Random files, {'full' if full else '1.3B'} widths", HEADS, rows, notes=tuple(refused))
    return f"*{hardware()}*\n\n{table}"


def keep(text: str, full: bool, card: bool) -> None:
    """Put a table into the page, in the place of its older one."""
    names = [f"{width}{device}" for width in ("narrow", "full") for device in ("", "_gpu")]
    name = f"{'full' if full else 'narrow'}{'_gpu' if card else ''}"
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(with_part(written, name, text, HEAD, names), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
