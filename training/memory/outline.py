"""The shapes of a model's weights, from the header of its file."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors
import torch

from ...pusa_model.families.table import FAMILIES, Family
from ...pusa_model.storage.safetensors_stream import DTYPES, SUFFIXES, TensorFile
from ...schedulers import InputError
from .quantised import FILE, is_taken, size

PROMPTED = (".cross_attn.k", ".cross_attn.v")
_BLOCK = re.compile(r"^(?:model\.)?(?:diffusion_model\.)?(blocks\.\d+\..+)\.weight$")


@dataclass(frozen=True)
class Outline:
    """What the header of a model's file tells.

    Attributes:
        family: by the weight that makes tokens of a latent, and its channels.
        shapes: of all its tensors, by name.
        size: bytes of all of them.
        block_size: bytes of those in the blocks.
        linear_size: bytes of those that ``base_dtype`` quantises (``quantised.is_taken``).
        dtype: that most of them have.
    """

    family: Family
    shapes: dict[str, tuple[int, ...]]
    size: int
    block_size: int
    linear_size: int
    dtype: torch.dtype

    @cached_property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len({name.split("blocks.")[1].split(".")[0] for name in self.shapes if "blocks." in name})

    @property
    def width(self) -> int:
        """Numbers of a token in the residual stream."""
        return next(shape[0] for name, shape in self.shapes.items() if name.endswith(self.family.embedding))

    @property
    def hidden(self) -> int:
        """Numbers of a token between the two layers of a feed-forward."""
        return next(shape[0] for name, shape in self.linear.items() if name.endswith(".ffn.0"))

    @property
    def numbers(self) -> int:
        """How many weights there are."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def linear(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the linear layers of the blocks, by their names in the network."""
        found = ((_BLOCK.match(name), shape) for name, shape in self.shapes.items())
        return {match[1]: shape for match, shape in found if match and len(shape) == 2}

    @cached_property
    def taken(self) -> list[tuple[int, ...]]:
        """Shapes of the weights that ``base_dtype`` quantises."""
        return [shape for name, shape in self.linear.items() if is_taken(name)]

    @cached_property
    def passed(self) -> float:
        """Numbers of a block's linear weights that a gradient goes through: all but those that only the prompt is given to."""
        inside = sum(math.prod(shape) for name, shape in self.linear.items() if not name.endswith(PROMPTED))
        return inside / max(1, self.blocks)

    @property
    def quantisable(self) -> bool:
        """Whether these are in more than 8 bits."""
        return self.linear_size >= 2 * sum(map(math.prod, self.taken))

    def saved(self, base_dtype: str) -> int:
        """Bytes by which the blocks are smaller than in the file when they are held so."""
        return 0 if base_dtype == FILE else self.linear_size - sum(size(base_dtype, shape) for shape in self.taken)

    def lora(self, rank: int, targets: Sequence[str]) -> int:
        """How many numbers a LoRA of this rank on these targets has."""
        endings = tuple(f".{target}" for target in targets)
        return sum(rank * sum(shape) for name, shape in self.linear.items() if name.endswith(endings))


def outline(path: Path) -> Outline | None:
    """Outline of a safetensors file; None for other files, and for one of no family (loading says what it is)."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    try:
        with TensorFile(path) as file:
            entries = file.entries
            shapes = {name: entry.shape for name, entry in entries.items()}
            family = _family(shapes)
            taken = [entry for name, entry in entries.items() if (match := _BLOCK.match(name)) and is_taken(match[1])]
            found = family and Outline(
                family,
                shapes,
                sum(entry.size for entry in entries.values()),
                sum(entry.size for name, entry in entries.items() if "blocks." in name),
                sum(entry.size for entry in taken),
                DTYPES[Counter(entry.dtype for entry in taken).most_common(1)[0][0]] if taken else torch.float32,
            )
    except (InputError, OSError, safetensors.SafetensorError):
        return None
    # A file of Diffusers, or of CLIP Vision, has a weight of that name too, but other layers.
    return found if found and all(found.lora(1, [target]) for target in family.targets) else None


def _family(shapes: dict[str, tuple[int, ...]]) -> Family | None:
    """The family by what makes tokens of a latent; of one whose models are given more channels (pictures), by the weight's name."""
    fitting = [family for family in reversed(FAMILIES) if any(name.endswith(family.embedding) for name in shapes)]
    for family in fitting:
        if any(name.endswith(family.embedding) and shape[1:2] == (family.channels,) for name, shape in shapes.items()):
            return family
    return next(iter(fitting), None)
