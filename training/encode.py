"""Stage 1: a data set of captioned clips to latents and prompt embeddings, once.

python -m training.encode DATASET STORE --vae FILE --text_encoder FILE
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from hosting.process import pack_module  # imports this module again, as a part of the pack, where the relative imports work

    sys.exit(pack_module("training.encode").main(sys.argv[1:]))

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..hosting.process import has_gpu, start_comfyui
from ..schedulers import InputError, check_length
from .data.ahead import ahead
from .data.captions import LongCaption
from .data.clips import in_floats
from .data.datasets import Item, Skipped, find_items
from .data.reading import WINDOWS, Reader
from .store import StoreWriter

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}
READERS = min(4, os.cpu_count() or 1)  # clips that are read while one is encoded


@dataclass
class Report:
    """What became of a data set."""

    encoded: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def check_size(frames: int, width: int, height: int, family) -> None:
    """Refuse a clip size that the models of a family cannot take.

    Args:
        family: a record of ``pusa_model/families``.

    Raises:
        InputError: the length is not nk + 1 (4k + 1 for Wan), or a side is no multiple of a patch (16 pixels).
    """
    check_length(frames, "num_frames", family.factor)
    for name, value in (("width", width), ("height", height)):
        if value < family.grid or value % family.grid:
            nearest = max(family.grid, round(value / family.grid) * family.grid)
            raise InputError(f"`{name}` is {value}; it must be a multiple of {family.grid}, so use {nearest}.")


def encode_items(
    items: Sequence[Item],
    writer: StoreWriter,
    read: Callable[[Item], Tensor],
    encode_frames: Callable[[Tensor], Tensor],
    encode_text: Callable[[str], Tensor],
    show: bool = True,
) -> Report:
    """Encode what the store does not hold yet; what cannot be used is left out and reported.

    Args:
        items: captioned clips.
        writer: of the store.
        read: frames [F, H, W, 3] of an item, 8-bit; InputError says why it cannot be used. Threads call it, ahead of the rest.
        encode_frames: the latent [C, T, h, w], as the network sees given frames, of frames in [0, 1].
        encode_text: embedding [L, width] of a caption; called once for each, and before the clips, so that the text
            encoder and the VAE need not take turns in memory.
    """
    report = Report()
    todo = []
    for item in items:
        present = writer.has(item.name, item.caption, fingerprint(item.path))
        (report.present if present else todo).append(item.name if present else item)
    captions = sorted({item.caption for item in todo} | {""} if todo else set())
    unusable: dict[str, str] = {}
    for caption in tqdm(captions, "Captions", disable=not show, unit="caption"):
        try:
            writer.add_prompt(caption, partial(encode_text, caption))
        except LongCaption as error:
            unusable[caption] = str(error)
    report.skipped += [Skipped(item.name, unusable[item.caption]) for item in todo if item.caption in unusable]
    todo = [item for item in todo if item.caption not in unusable]
    for item, reading in tqdm(ahead(read, todo, READERS), "Clips", len(todo), disable=not show, unit="clip"):
        try:
            latent = encode_frames(in_floats(reading.result()))
            if not torch.isfinite(latent).all():
                raise InputError("its latent holds values that are not finite numbers; try a VAE in fp32 or bf16")
        except InputError as error:
            report.skipped.append(Skipped(item.name, str(error)))
            continue
        writer.add(item.name, latent, item.caption, partial(encode_text, item.caption), fingerprint(item.path))
        report.encoded.append(item.name)
    return report


def fingerprint(path: Path) -> str:
    """Size and time of a file: whether it changed since it was encoded."""
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m training.encode",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
        epilog="COMFYUI_PATH names the ComfyUI folder, the one with main.py. See training/README.md.",
    )
    top.add_argument("dataset", metavar="DATASET", help="folder with a table of captions, or with clip.mp4 beside clip.txt")
    top.add_argument("store", metavar="STORE", help="folder to write to; what is in it is not encoded again")
    top.add_argument("--vae", required=True, help="wan_2.1_vae.safetensors; wan2.2_vae.safetensors for 5B, Mochi's for Mochi")
    top.add_argument("--text_encoder", help="umt5_xxl_fp16.safetensors, T5-XXL for Mochi; only for captions that are new")
    top.add_argument("--num_frames", type=int, help="frames of a clip, 4n + 1 (default 81; 5B 121; Mochi, 6n + 1, 163)")
    top.add_argument("--height", type=int, help="pixels, a multiple of 16, for 5B of 32 (default 480)")
    top.add_argument("--width", type=int, help="pixels, a multiple of 16, for 5B of 32 (default 832)")
    top.add_argument("--sizes", metavar="WxH,...", help="several sizes: for each clip the one that cuts off least of it")
    top.add_argument("--fps", help="frames per second that clips are taken at (default 16, 5B 24, Mochi 30); keep: as they are")
    top.add_argument("--window", choices=WINDOWS, default="head", help="head, middle, or chunks: all of a clip (default head)")
    top.add_argument("--dtype", choices=DTYPES, default="bf16", help="of the stored latents (default bf16)")
    top.add_argument("--cpu", action="store_true", help="do not use a GPU")
    return top


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit code: 0, 1 for input that cannot be used, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        items, unusable = find_items(arguments.dataset)
        start_comfyui(arguments.cpu or not has_gpu())
        from .data.encoders import load_vae

        vae, family = load_vae(arguments.vae)
        reader = reader_of(arguments, family)
        report = encode_dataset(items, arguments, reader, vae, family)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    skipped = unusable + report.skipped
    for line in reader.told():
        print(line)
    for each in skipped:
        print(f"skipped  {each.name}: {each.reason}")
    print(f"{len(report.encoded)} encoded, {len(report.present)} already there, {len(skipped)} skipped. Store: {arguments.store}")
    return 0 if report.encoded or report.present else 1


def reader_of(arguments: argparse.Namespace, family) -> Reader:
    """How clips are read, for the models of a family.

    Raises:
        InputError: sizes, length or rate cannot be meant.
    """
    if arguments.sizes and (arguments.width, arguments.height) != (None, None):
        raise InputError("--sizes and --width or --height are given; use one of them.")
    sizes = [(832 if arguments.width is None else arguments.width, 480 if arguments.height is None else arguments.height)]
    if arguments.sizes:
        found = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in arguments.sizes.split(",")]
        if not all(found):
            raise InputError(f"`sizes` is {arguments.sizes}; give width x height, for example 832x480,480x832.")
        sizes = [(int(match[1]), int(match[2])) for match in found]
    frames = family.frames if arguments.num_frames is None else arguments.num_frames
    for width, height in sizes:
        check_size(frames, width, height, family)
    return Reader(frames, sizes, family.rate if arguments.fps is None else _rate(arguments.fps), arguments.window)


def _rate(text: str) -> Fraction | None:
    if text == "keep":
        return None
    try:
        rate = Fraction(text)
        if 0 < float(rate):
            return rate
    except (ValueError, ZeroDivisionError, OverflowError):
        pass
    raise InputError(f"`fps` is {text}; give frames per second above 0, or keep.")


def encode_dataset(items: Sequence[Item], arguments: argparse.Namespace, reader: Reader, vae, family) -> Report:
    """Encode with a VAE of ComfyUI and its text encoder, which is loaded when it is needed."""
    from ..pusa_model.lora.merged import sha256
    from .data.encoders import text_encoder, vae_encoder

    how = {"num_frames": reader.frames, "dtype": arguments.dtype, "vae_sha256": sha256(Path(arguments.vae))}
    if len(reader.sizes) == 1:
        how |= dict(zip(("width", "height"), reader.sizes[0]))
    else:
        how["sizes"] = arguments.sizes
    if reader.fps is not None:
        how["fps"] = str(reader.fps)
    if reader.window != "head":
        how["window"] = reader.window
    encode_frames = vae_encoder(vae, family, DTYPES[arguments.dtype])
    encode_text = text_encoder(arguments.text_encoder, family)
    with StoreWriter(arguments.store, how) as writer, torch.inference_mode():
        parts = reader.windows(items)
        return encode_items(parts, writer, reader, encode_frames, encode_text, show=os.isatty(2))
