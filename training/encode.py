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
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..hosting.process import has_gpu, start_comfyui
from ..schedulers import InputError, check_length
from .data.datasets import Item, Skipped, find_items
from .store import StoreWriter

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}
GRID = 16  # pixels: 8 to a latent, 2 latents to a patch of the network


@dataclass
class Report:
    """What became of a data set."""

    encoded: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def check_size(frames: int, width: int, height: int) -> None:
    """Refuse a clip size that Wan cannot take.

    Raises:
        InputError: the length is not 4n + 1, or a side is no multiple of 16.
    """
    check_length(frames, "num_frames")
    for name, value in (("width", width), ("height", height)):
        if value < GRID or value % GRID:
            nearest = max(GRID, round(value / GRID) * GRID)
            raise InputError(f"`{name}` is {value}; it must be a multiple of {GRID}, so use {nearest}.")


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
        read: frames [F, H, W, 3] in [0, 1] of an item; InputError says why it cannot be used.
        encode_frames: their latent [C, T, h, w] in the scale of the model.
        encode_text: embedding [L, width] of a caption; called once for each, and before the clips, so that the text
            encoder and the VAE need not take turns in memory.
    """
    report = Report()
    todo = []
    for item in items:
        present = writer.has(item.name, item.caption, fingerprint(item.path))
        (report.present if present else todo).append(item.name if present else item)
    captions = sorted({item.caption for item in todo} | {""} if todo else set())
    for caption in tqdm(captions, "Captions", disable=not show, unit="caption"):
        writer.add_prompt(caption, partial(encode_text, caption))
    for item in tqdm(todo, "Clips", disable=not show, unit="clip"):
        try:
            latent = encode_frames(read(item))
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
    top.add_argument("dataset", metavar="DATASET", help="folder with metadata.csv, or with clip.mp4 beside clip.txt")
    top.add_argument("store", metavar="STORE", help="folder to write to; what is in it is not encoded again")
    top.add_argument("--vae", required=True, help="the Wan2.1 VAE (wan_2.1_vae.safetensors)")
    top.add_argument("--text_encoder", help="umT5-XXL (umt5_xxl_fp16.safetensors); only needed for captions that are new")
    top.add_argument("--num_frames", type=int, default=81, help="frames from the start of each clip, 4n + 1 (default 81)")
    top.add_argument("--height", type=int, default=480, help="pixels, a multiple of 16 (default 480)")
    top.add_argument("--width", type=int, default=832, help="pixels, a multiple of 16 (default 832)")
    top.add_argument("--dtype", choices=DTYPES, default="bf16", help="of the stored latents (default bf16)")
    top.add_argument("--cpu", action="store_true", help="do not use a GPU")
    return top


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit code: 0, 1 for input that cannot be used, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        check_size(arguments.num_frames, arguments.width, arguments.height)
        items, unusable = find_items(arguments.dataset)
        report = encode_dataset(items, arguments)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    skipped = unusable + report.skipped
    for each in skipped:
        print(f"skipped  {each.name}: {each.reason}")
    print(f"{len(report.encoded)} encoded, {len(report.present)} already there, {len(skipped)} skipped. Store: {arguments.store}")
    return 0 if report.encoded or report.present else 1


def encode_dataset(items: Sequence[Item], arguments: argparse.Namespace) -> Report:
    """Encode with ComfyUI's VAE and text encoder, which are loaded when they are needed."""
    start_comfyui(arguments.cpu or not has_gpu())
    from ..pusa_model.lora.merged import sha256
    from .data.clips import read_clip, read_picture
    from .data.encoders import text_encoder, video_encoder

    if not Path(arguments.vae).is_file():
        raise InputError(f"`vae`: there is no file {arguments.vae}.")
    size = arguments.num_frames, arguments.width, arguments.height
    how = dict(zip(("num_frames", "width", "height"), size)) | {"dtype": arguments.dtype, "vae_sha256": sha256(Path(arguments.vae))}

    def read(item: Item) -> Tensor:
        return read_picture(item.path, *size[1:]) if item.picture else read_clip(item.path, *size)

    encode_frames = video_encoder(arguments.vae, DTYPES[arguments.dtype])
    with StoreWriter(arguments.store, how) as writer, torch.inference_mode():
        return encode_items(items, writer, read, encode_frames, text_encoder(arguments.text_encoder), show=os.isatty(2))
