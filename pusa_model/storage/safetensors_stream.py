"""Safetensors files a few rows at a time: plain reads and writes, because mapped pages would count as memory of the process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import safetensors
import torch
from torch import Tensor

from ...schedulers import InputError

SUFFIXES = (".safetensors", ".sft")
DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH = 8  # bytes of the number in front of the header; the header is padded to a multiple of it


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: its dtype in the format's spelling, its shape, and its bytes [start, stop) counted behind the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


def read_header(file: BinaryIO) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Entries in the order of their bytes, metadata, and the position of byte 0 of the entries.

    Raises:
        ValueError, LookupError, TypeError: it is not a header of this format.
    """
    length = int.from_bytes(file.read(_LENGTH), "little")
    if not 0 < length <= 100_000_000:  # the format's own limit
        raise ValueError("no safetensors header")
    header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    entries = {name: Entry(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in header.items()}
    return dict(sorted(entries.items(), key=lambda item: item[1].start)), metadata, _LENGTH + length


def pack_header(entries: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: dict[str, str]) -> tuple[bytes, dict[str, int]]:
    """Header of a file that holds (name, dtype, shape, bytes) in this order, and the position of each in the file."""
    header: dict[str, object] = {"__metadata__": metadata}
    starts, stop = {}, 0
    for name, dtype, shape, size in entries:
        starts[name], stop = stop, stop + size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [starts[name], stop]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    packed = len(text).to_bytes(_LENGTH, "little") + text
    return packed, {name: len(packed) + start for name, start in starts.items()}


class TensorFile:
    """An open safetensors file. Use it as a context manager."""

    def __init__(self, path: Path):
        """Open and check a file.

        Raises:
            InputError: it is damaged or of another format.
            OSError: it cannot be opened.
        """
        self.file = open(path, "rb")  # before the library opens it, whose errors name the path
        try:
            with safetensors.safe_open(path, framework="pt"):  # it checks every offset, and touches no tensor
                pass
            self.entries, self.metadata, self.data = read_header(self.file)
        except (safetensors.SafetensorError, LookupError, TypeError, ValueError) as error:
            self.file.close()
            raise InputError(f"{path.name} is damaged or no safetensors file ({error}). Download it again.") from error

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def read(self, name: str) -> Tensor:
        """A tensor in memory of its own."""
        entry = self.entries[name]
        return self._read(entry.start, entry.size).view(DTYPES[entry.dtype]).reshape(entry.shape)

    def read_flat(self, name: str, first: int, count: int) -> Tensor:
        """Elements [first, first + count) of a tensor, flat, in memory of their own."""
        entry = self.entries[name]
        dtype = DTYPES[entry.dtype]
        return self._read(entry.start + first * dtype.itemsize, count * dtype.itemsize).view(dtype)

    def bytes(self, name: str, first: int = 0, last: int | None = None) -> memoryview:
        """Bytes [first, last) of a tensor, all of them by default."""
        entry = self.entries[name]
        return as_bytes(self._read(entry.start + first, (entry.size if last is None else last) - first))

    def _read(self, start: int, size: int) -> Tensor:
        data = torch.empty(size, dtype=torch.uint8)
        self.file.seek(self.data + start)
        if size and self.file.readinto(data.numpy()) != size:
            raise InputError(f"{Path(self.file.name).name} became shorter while it was read.")
        return data


def as_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor, as a file takes them."""
    return memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
