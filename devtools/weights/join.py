"""Halves of a model as one safetensors file: `python -m devtools.weights.join ENCODER DECODER WHOLE` for the VAE of Mochi.

The tensors keep their bytes and get the name of their half and a dot in front. The header of each half is kept in the metadata, so
that the checksum of a half can be taken from the whole.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..console import SetupError, say

BLOCK = 1 << 22
LENGTH = 8  # bytes of the number in front of a header
KEPT = "header_of_"  # in front of the name of a half, in the metadata
# A tensor of each half, by which ComfyUI knows it too.
MARKS = {"encoder": "layers.4.layers.1.attn_block.attn.qkv.weight", "decoder": "blocks.2.blocks.3.stack.5.weight"}


def blocks(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """The next `size` bytes of a file, or all that are left, a block at a time; fewer where the file ends before."""
    while (size is None or size) and (block := file.read(BLOCK if size is None else min(BLOCK, size))):
        yield block
        size = None if size is None else size - len(block)


def read_header(file: BinaryIO) -> tuple[bytes, dict]:
    """The header of an open safetensors file, as its bytes and as what they say.

    Raises:
        ValueError, KeyError: it is none.
    """
    length = int.from_bytes(file.read(LENGTH), "little")
    if not 0 < length <= 100_000_000:  # the format's own limit
        raise ValueError("no safetensors header")
    raw = file.read(length)
    return raw, json.loads(raw.decode())


def data_size(header: dict) -> int:
    """Bytes of the tensors behind a header."""
    return max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)


def join(halves: dict[str, Path], whole: Path) -> None:
    """Write the whole beside its place, and move it there once it is complete and on the disk.

    Args:
        halves: file of each half, by what stands in front of its tensors' names.

    Raises:
        SetupError: a half is no such file, or the disk takes no more; nothing is left of the whole.
    """
    headers = {name: _half_header(name, path) for name, path in halves.items()}
    metadata = {f"{KEPT}{name}": raw.decode() for name, (raw, _) in headers.items()}
    joined, start = {"__metadata__": metadata}, 0
    for half, (_, header) in headers.items():
        for name, entry in header.items():
            if name != "__metadata__":
                joined[f"{half}.{name}"] = entry | {"data_offsets": [start + place for place in entry["data_offsets"]]}
        start += data_size(header)
    text = json.dumps(joined, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    part = whole.with_name(f"{whole.name}.part")
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as out:
            out.write(len(text).to_bytes(LENGTH, "little") + text)
            for name, path in halves.items():
                with open(path, "rb") as file:
                    file.seek(LENGTH + len(headers[name][0]))
                    for block in blocks(file):
                        out.write(block)
            out.flush()
            os.fsync(out.fileno())
        part.replace(whole)
    except OSError as error:
        raise SetupError(f"{whole} could not be written ({error.strerror or error}). The halves are as they were.") from None
    finally:
        part.unlink(missing_ok=True)


def _half_header(half: str, path: Path) -> tuple[bytes, dict]:
    try:
        with open(path, "rb") as file:
            raw, header = read_header(file)
        complete = path.stat().st_size == LENGTH + len(raw) + data_size(header)
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error.strerror or error}).") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SetupError(f"{path} is damaged or no safetensors file.") from None
    if not complete:
        raise SetupError(f"{path} is incomplete: it has another size than its header says. Download it again.")
    if MARKS[half] not in header:
        raise SetupError(f"{path} is not the {half} of Mochi's VAE: it holds no tensor {MARKS[half]}.")
    return raw, header


def checksum_inside(whole: Path, half: str) -> str | None:
    """The sha256 that the file of a half had before it was joined; None where the whole is no file that `join` has made."""
    try:
        with open(whole, "rb") as file:
            raw, header = read_header(file)
            kept = {name.removeprefix(KEPT): text.encode() for name, text in header["__metadata__"].items()}
            sizes = {name: data_size(json.loads(text)) for name, text in kept.items()}
            before = list(kept)[: list(kept).index(half)]
            digest = hashlib.sha256(len(kept[half]).to_bytes(LENGTH, "little") + kept[half])
            file.seek(sum(sizes[name] for name in before), os.SEEK_CUR)
            for block in blocks(file, sizes[half]):
                digest.update(block)
            return digest.hexdigest()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def main(argv=None) -> int:
    """Run one command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m devtools.weights.join", description="Join the two halves of Mochi's VAE, as they come with Pusa V0.5."
    )
    for name, text in (("encoder", "encoder.safetensors"), ("decoder", "decoder.safetensors"), ("whole", "the file to write")):
        parser.add_argument(name, type=Path, help=text)
    asked = parser.parse_args(argv)
    try:
        if asked.whole.exists():
            raise SetupError(f"{asked.whole} is there already. Move or delete it, or give another name.")
        join({"encoder": asked.encoder, "decoder": asked.decoder}, asked.whole)
    except SetupError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Nothing was written.", file=sys.stderr)
        return 130
    say(f"{asked.whole} holds both halves. In ComfyUI's models/vae, Load VAE has it in its list after R.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
