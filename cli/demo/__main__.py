"""Tasks of the embedded model, from an empty server to files. Started by `dev.py demo`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from hosting.process import ROOT

from ..client import ComfyClient, ComfyError
from ..progress import ProgressBar
from ..server import ComfyServer, ServerDied, cpu_arguments
from .given import frames_of, row_of
from .sheets import TITLE, Row, page
from .tasks import TASKS, demo_graph

INPUTS = ROOT / "assets" / "nano" / "input"
PAGE = "pusa_demo_all.png"


async def make_video(url: str, graph: dict) -> list:
    """Queue a graph on the server at `url` and follow it; returns the saved videos."""
    async with ComfyClient(url) as client:
        for made in graph.values():
            name = made["inputs"].get("image") or made["inputs"].get("file")
            if isinstance(name, str):
                await client.upload_image(INPUTS / name)
        bar = ProgressBar()
        try:
            files = await client.run(graph, bar)
            bar.show(1.0, "done")
            return [file for file in files if file.type == "output"]  # the plot is a preview
        finally:
            bar.end()


def made(url: str, base: Path, task: str, seed: int) -> tuple[Row, Path]:
    """The row and the file of a task's video, with a sheet beside it."""
    graph = demo_graph(task, seed)
    (file,) = asyncio.run(make_video(url, graph))
    video = file.path(base)
    row = row_of(task, graph, frames_of(video), INPUTS)
    page(f"Seed {seed}", [row]).save(video.with_suffix(".png"), optimize=True)
    return row, video


def main(arguments: list) -> int:
    """Run the demonstration in a base directory."""
    top = argparse.ArgumentParser(prog="dev.py demo")
    top.add_argument("base", type=Path)
    top.add_argument("--task", choices=[*TASKS, "all"], default="i2v")
    top.add_argument("--seed", type=int, default=0)
    chosen = top.parse_args(arguments)
    # Leaving by an exception is what stops the server.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    lines, rows = [], []
    try:
        print("Starting ComfyUI ...", flush=True)
        extra = cpu_arguments(sys.executable)
        server = ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], chosen.base, extra_args=extra)
        with server:
            for task in TASKS if chosen.task == "all" else [chosen.task]:
                print(f"{task}: {TASKS[task]}, at {server.url}", flush=True)
                row, video = made(server.url, chosen.base, task, chosen.seed)
                rows.append(row)
                lines += [f"Sheet: {video.with_suffix('.png')}", f"Video: {video}"]
    except ServerDied as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1
    except ComfyError as error:
        print(f"\nError: {error}\n\nComfyUI's log: {server.log}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    if chosen.task == "all":
        file = video.with_name(PAGE)
        page(TITLE, rows).save(file, optimize=True)
        lines.append(f"All on one page: {file}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
