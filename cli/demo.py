"""A task of the embedded model, from an empty server to a file. Started by `dev.py demo`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw

from .client import ComfyClient, ComfyError
from .graph.demo import TASKS, demo_graph
from .progress import ProgressBar
from .server import ComfyServer, ServerDied, cpu_arguments

COUNT, GAP = 9, 4  # frames of a contact sheet, and pixels between them
INPUTS = Path(__file__).resolve().parent.parent / "assets" / "nano" / "input"


async def make_video(url: str, task: str, seed: int) -> list:
    """Queue the graph of a task on the server at `url` and follow it; returns the saved videos."""
    graph = demo_graph(task, seed)
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


def contact_sheet(video: Path, picture: Path, count: int = COUNT) -> None:
    """Write `count` frames of a video, spread evenly from the first to the last, as a PNG."""
    with av.open(str(video)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    numbers = [round(index * (len(frames) - 1) / (count - 1)) for index in range(count)]
    width, height = frames[0].size
    sheet = Image.new("RGB", (count * (width + GAP) - GAP, height + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for index, number in enumerate(numbers):
        sheet.paste(frames[number], (index * (width + GAP), 16))
        draw.text((index * (width + GAP) + 2, 2), str(number), fill="black")
    sheet.save(picture)


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
    lines = []
    try:
        print("Starting ComfyUI ...", flush=True)
        extra = cpu_arguments(sys.executable)
        server = ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], chosen.base, extra_args=extra)
        with server:
            for task in TASKS if chosen.task == "all" else [chosen.task]:
                print(f"{task}: {TASKS[task]}, at {server.url}", flush=True)
                for file in asyncio.run(make_video(server.url, task, chosen.seed)):
                    video = file.path(chosen.base)
                    contact_sheet(video, video.with_suffix(".png"))
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
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
