"""Ways in which a file is not what it was: bytes, ends, headers, numbers inside, and other kinds of file under the name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable

HUGE = (0, 1, 2**31 - 1, 2**32 - 1, 2**62, 2**64 - 1)
MEGABYTE = 2**20


def damaged(data: bytes, suffix: str, draw: random.Random) -> tuple[str, bytes]:
    """(what was done, the file afterwards)."""
    ways = [*ANY, *BY_SUFFIX.get(suffix, ())] + list(BY_SUFFIX.get(suffix, ())) * 2
    way = draw.choice(ways)
    return way.__name__, way(data, draw)


def _place(data: bytes, draw: random.Random, size: int = 1) -> int:
    """Somewhere in a file, mostly in its first part, where the headers are, or its last."""
    end = max(1, len(data) - size)
    return min(draw.choice((draw.randrange(end), draw.randrange(min(end, 64)), draw.randrange(min(end, 4096)), end - 1)), end - 1)


def _put(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def one_byte(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return _put(data, place, bytes([data[place] ^ draw.randrange(1, 256)]))


def one_bit(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return _put(data, place, bytes([data[place] ^ 1 << draw.randrange(8)]))


def cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.choice((0, 1, 7, 8, 9, len(data) // 2, len(data) - 1, draw.randrange(len(data))))]


def longer(data: bytes, draw: random.Random) -> bytes:
    return data + draw.randbytes(draw.choice((1, 8, 5000)))


def zeros(data: bytes, draw: random.Random) -> bytes:
    size = draw.choice((8, 512, len(data) // 3))
    return _put(data, _place(data, draw, size), bytes(size))


def noise(data: bytes, draw: random.Random) -> bytes:
    size = draw.choice((8, 512, len(data) // 3))
    return _put(data, _place(data, draw, size), draw.randbytes(size))


def part_missing(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + data[place + draw.choice((1, 8, 1000)) :]


def part_twice(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[: place + draw.choice((1, 8, 1000))] + data[place:]


def huge_length(data: bytes, draw: random.Random) -> bytes:
    kind, bits = draw.choice((("<I", 32), (">I", 32), ("<Q", 64), (">Q", 64)))
    number = struct.pack(kind, draw.choice(HUGE) % 2**bits)
    return _put(data, draw.randrange(0, min(64, len(data) - 8)), number)


def another_kind(data: bytes, draw: random.Random) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("data.pkl", bytes(MEGABYTE))
    kinds = (
        b"", b"\0" * 5000, b"<!doctype html><title>404</title>" * 90, gzip.compress(data), pickle.dumps({"a": 1}),
        archive.getvalue(),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 40000000\n", draw.randbytes(5000),
        b"\x89PNG\r\n\x1a\n" + bytes(100), b"GIF89a" + bytes(100), b"{}", json.dumps(list(range(999))).encode(),
    )  # fmt: skip
    return draw.choice(kinds)


def _header(data: bytes, change: Callable[[dict], None]) -> bytes:
    """A safetensors file with another header before the same bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _tensor(header: dict, draw: random.Random) -> str:
    return draw.choice(sorted(name for name in header if name != "__metadata__"))


def wrong_header(data: bytes, draw: random.Random) -> bytes:
    def change(header: dict) -> None:
        name = _tensor(header, draw)
        entry = header[name]
        key = draw.choice(("dtype", "shape", "data_offsets", "name", "gone", "copy"))
        if key == "dtype":
            entry[key] = draw.choice(("F16", "F64", "I32", "F8_E4M3", "BOOL", "X1", "", None, "C64"))
        elif key == "shape":
            sides = entry[key]
            entry[key] = draw.choice(([], sides[::-1], [2**40, 2**40], [-1, *sides[1:]], [0], [*sides, 1], "4", None))
        elif key == "data_offsets":
            start, end = entry[key]
            entry[key] = draw.choice(([end, start], [start, end + 4], [0, end - start], [-4, end], [2**63, 2**64], [start], None))
        elif key == "name":
            header[draw.choice((name[:-1], name + "x", "", "x" * 5000, name.replace("0", "7", 1)))] = header.pop(name)
        elif key == "gone":
            del header[name]
        else:
            header[name.replace("blocks.0", "blocks.9")] = dict(entry)

    return _header(data, change)


def deep_header(data: bytes, draw: random.Random) -> bytes:
    text = b"[" * 50_000 + b"]" * 50_000
    return struct.pack("<Q", len(text)) + text


def not_finite(data: bytes, draw: random.Random) -> bytes:
    """NaN or infinity in the place of a float32 of a tensor."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    start, end = header[_tensor(header, draw)]["data_offsets"]
    place = 8 + size + start + 4 * draw.randrange((end - start) // 4)
    return _put(data, place, struct.pack("<f", draw.choice((float("nan"), float("inf"), float("-inf")))))


def other_metadata(data: bytes, draw: random.Random) -> bytes:
    """Metadata with one part of its JSON changed, or with more in it."""

    def change(header: dict) -> None:
        known = header.setdefault("__metadata__", {})
        if "pusa_prompt" not in known or draw.random() < 0.2:
            known["more"] = "x" * draw.choice((1, 100_000))
            return
        text = known["pusa_prompt"]
        place = draw.randrange(len(text))
        swapped = text[:place] + draw.choice('{}[]",:0a') + text[place + 1 :]
        others = ("[" * 99_999, "null", "{}", '{"version": 1}', text.replace("1", "2", 1))
        known["pusa_prompt"] = draw.choice((swapped, text[:place], *others))

    return _header(data, change)


def _rezipped(data: bytes, change: Callable[[list], list]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(out, "w") as archive:
        for name, content, *how in change(entries):
            archive.writestr(name, content, *how)
    return out.getvalue()


def zip_bomb(data: bytes, draw: random.Random) -> bytes:
    part, zeros = draw.choice(("data.pkl", "data/0")), (bytes(256 * MEGABYTE), zipfile.ZIP_DEFLATED, 1)
    return _rezipped(data, lambda entries: [(name, *(zeros if name.endswith(part) else (data,))) for name, data in entries])


def zip_parts(data: bytes, draw: random.Random) -> bytes:
    """An entry of the archive missing, of another size, or with one byte changed and the right checksum."""
    way, lucky = draw.choice(("gone", "short", "byte")), draw.random()

    def change(entries: list) -> list:
        index = int(lucky * len(entries))
        name, content = entries[index]
        new = {"gone": [], "short": [(name, content[: len(content) // 2])], "byte": [(name, one_byte(content or b"0", draw))]}[way]
        return [*entries[:index], *new, *entries[index + 1 :]]

    return _rezipped(data, change)


ANY = (one_byte, one_byte, one_bit, cut_off, longer, zeros, noise, part_missing, part_twice, huge_length, another_kind)
BY_SUFFIX = {
    ".safetensors": (wrong_header, wrong_header, not_finite, deep_header, other_metadata),
    ".pt": (zip_bomb, zip_parts, zip_parts),
}
