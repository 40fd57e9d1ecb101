"""Files of the trainer, each complete or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..pusa_model.storage.files import write_whole
from ..pusa_model.storage.safetensors_stream import DTYPE_NAMES, as_bytes, pack_header


def write_json(path: Path, content: dict) -> None:
    """Write JSON.

    Raises:
        InputError: the file cannot be written there.
    """
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode()
    write_whole(path, lambda out: out.write(text), str(path), len(text))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a .safetensors file, one tensor at a time.

    Raises:
        InputError: the file cannot be written there.
    """
    # The largest numbers first, so that each tensor lies at a multiple of its own.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    outline = [(name, DTYPE_NAMES[tensors[name].dtype], tuple(tensors[name].shape), tensors[name].nbytes) for name in names]
    header, _ = pack_header(outline, dict(metadata))

    def write(out) -> None:
        out.write(header)
        for name in names:
            out.write(as_bytes(tensors[name].detach().cpu()))

    write_whole(path, write, str(path), len(header) + sum(size for *_, size in outline))
