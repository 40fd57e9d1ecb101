"""What a model file says was merged into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ...schedulers import InputError
from ..storage.safetensors_stream import SUFFIXES, read_header

METADATA = "pusa_merged"
TRAINING = "pusa_training"  # a model that this pack's trainer wrote
_BLOCK = 2**20  # bytes hashed at a time


def notes(path: str | Path) -> dict[str, str]:
    """Metadata of a safetensors file; of any other, or one that cannot be read, none."""
    if Path(path).suffix.lower() not in SUFFIXES:
        return {}
    try:
        with open(path, "rb") as file:
            return dict(read_header(file)[1])
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def merged_loras(path: str | Path) -> list[dict]:
    """LoRAs that were merged into a model file, as ``{"file", "sha256", "strength"}`` in order; reads its header only.

    A file of another format, or one that says nothing of the kind, holds none.
    """
    try:
        listed = json.loads(notes(path).get(METADATA, "[]"))
    except (TypeError, ValueError, RecursionError):
        return []
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def sha256(path: Path, advance: Callable[[int], None] = lambda count: None) -> str:
    """Hash of a file, in hexadecimal; ``advance`` is told the bytes of every block."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def refuse_merged(path: Path, digest: str, merged: Sequence[dict]) -> None:
    """Refuse a LoRA file that is in a model already.

    Raises:
        InputError: a merged file has the same sha256.
    """
    twice = next((each for each in merged if each.get("sha256") == digest), None)
    if twice is not None:
        raise InputError(
            f"`lora_name`: {path.name} is in the model already (as {twice.get('file')}, strength {twice.get('strength')}). "
            "A second time the strengths would add up, which shows as flashes. Start from the model without it."
        )
