"""Files of the trainer, each complete or not there."""

from __future__ import annotations

import json
import pickle
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..pusa_model.storage.files import write_whole
from ..pusa_model.storage.safetensors_stream import DTYPE_NAMES, as_bytes, pack_header


def reason(error: Exception) -> str:
    """Why a file could not be read, in a line. Of a pickle torch says how to have it run what it holds, which is left out."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged, another kind of file, or holds more than tensors, which is refused because it could run code"
    return [*str(error).splitlines(), type(error).__name__][0]


def write_json(path: Path, content: dict) -> None:
    """Write JSON.

    Raises:
        InputError: the file cannot be written there.
    """
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode()
    write_whole(path, lambda out: out.write(text), str(path), len(text))


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
    gather: Callable[[Tensor], Tensor] = Tensor.cpu,
    write: bool = True,
) -> None:
    """Write a .safetensors file, one tensor at a time, which is converted and gathered just before.

    Args:
        dtype: of all tensors in the file; None leaves each its own.
        gather: brings a tensor whole to the CPU; called for each, also when the file could not be written to its end, since other
            processes may have to take part in it.
        write: whether this process writes; else it only takes part.

    Raises:
        InputError: the file cannot be written there.
    """
    kinds = {name: dtype or tensor.dtype for name, tensor in tensors.items()}
    # The largest numbers first, so that each tensor lies at a multiple of its own.
    names = sorted(tensors, key=lambda name: (-kinds[name].itemsize, name))
    sizes = {name: kinds[name].itemsize * tensors[name].numel() for name in names}
    header, _ = pack_header(
        [(name, DTYPE_NAMES[kinds[name]], tuple(tensors[name].shape), sizes[name]) for name in names], dict(metadata)
    )
    values = (gather(tensors[name].detach().to(kinds[name])) for name in names)

    def put(out) -> None:
        out.write(header)
        for value in values:
            out.write(as_bytes(value))

    try:
        if write:
            write_whole(path, put, str(path), len(header) + sum(sizes.values()))
    except Exception:
        deque(values, maxlen=0)
        raise
    deque(values, maxlen=0)
