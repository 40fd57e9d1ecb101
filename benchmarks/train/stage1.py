"""Whether encoding waits for reading in stage 1: both as shares of one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from hosting.process import pack_module

from ..measure.report import Limit, Table

CLIPS = 12
SOURCES = ((64, 64), (256, 256), (1280, 720))  # pixels of the clips as they lie on the disk
SIDE, FRAMES = 64, 33
MOST = 0.5


class Counted:
    """A function that counts the seconds in it, over all threads."""

    def __init__(self, function: Callable):
        self.function, self.spans = function, []

    def __call__(self, *arguments):
        began = time.perf_counter()
        try:
            return self.function(*arguments)
        finally:
            self.spans.append(time.perf_counter() - began)  # whole at once, whichever thread it is

    @property
    def seconds(self) -> float:
        return sum(self.spans)


def write_clips(folder: Path, size: tuple[int, int], count: int) -> None:
    """Scenes of the small world in a size, with captions."""
    files, world = pack_module("training.nano.examples.files"), pack_module("training.nano.world")
    folder.mkdir()
    for number in range(count):
        scene = world.scene(number)
        frames = [Image.fromarray((frame * 255).round().byte().numpy()) for frame in scene.render()]
        files.write_clip(folder / f"{number:02}.mp4", [frame.resize(size, Image.Resampling.BICUBIC) for frame in frames])
        (folder / f"{number:02}.txt").write_text(scene.caption, encoding="utf-8")


def run(folder: Path, clips: Path, encode_frames: Callable) -> tuple[float, float, float]:
    """Seconds of a stage 1: (all of it, reading in its threads, encoding)."""
    encode, words = pack_module("training.encode"), pack_module("training.nano.words")
    items, _ = pack_module("training.data.datasets").find_items(clips)
    read = Counted(pack_module("training.data.reading").Reader(FRAMES, [(SIDE, SIDE)], None))
    encoding = Counted(encode_frames)
    with pack_module("training.store").StoreWriter(folder) as writer, torch.inference_mode():
        began = time.perf_counter()
        encode.encode_items(items, writer, read, encoding, words.embed, show=False)
        return time.perf_counter() - began, read.seconds, encoding.seconds


def table(quick: bool) -> Table:
    """A row for each size of the clips."""
    ship, encoders = pack_module("training.nano.ship"), pack_module("training.data.encoders")
    encode_frames = encoders.vae_encoder(*encoders.load_vae(ship.FOLDER / ship.PLACES["vae"]), torch.bfloat16)
    count, rows, limits = 2 if quick else CLIPS, [], []
    with tempfile.TemporaryDirectory(prefix="pusa-stage1-") as name:
        for width, height in SOURCES:
            clips = Path(name) / f"{width}x{height}"
            write_clips(clips, (width, height), count)
            whole, reading, encoding = run(Path(name) / f"{width}x{height}.store", clips, encode_frames)
            cells = [f"{100 * part / whole:.0f} %" for part in (reading, encoding, whole - encoding)]
            rows.append([f"{width} x {height}", f"{whole:.3g} s", *cells])
            limits.append(Limit(f"share of the run in which nothing is encoded, {width} x {height}", 1 - encoding / whole, MOST))
    title = f"Stage 1: clips of {FRAMES} frames, encoded at {SIDE} x {SIDE} with the embedded VAE"
    heads = ["clips", "the run", "reading, in threads beside it", "encoding", "neither: waiting, writing"]
    return Table(title, heads, rows, tuple(limits), (f"{count} clips a row.",))
