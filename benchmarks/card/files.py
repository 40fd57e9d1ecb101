"""How large the files are, by their formats. A name of a GGUF format says how the matrices of the blocks are written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from torch import Size, nn

from .networks import Wan, shapes

GB = 10**9  # as download pages count
MATRIX = re.compile(r"blocks\.\d+\.(self_attn|cross_attn|ffn)\.\w+\.weight")  # with the targets of Pusa's LoRAs
RICH = re.compile(r"\.(v|ffn\.2)\.weight")  # what the formats with an M at the end keep in Q6_K
BLOCKS = {"Q8_0": (34, 32), "Q6_K": (210, 256), "Q5_K": (176, 256), "Q4_K": (144, 256), "Q3_K": (110, 256)}
"""Bytes of a block of weights, and weights in it. Source: ggml-common.h of ggml, the structs block_q8_0 to block_q3_K."""


def total(named: dict[str, Size], bytes_of: Callable[[str, Size], float]) -> int:
    """Bytes of some tensors, each with as many for a number as ``bytes_of`` says."""
    return round(sum(math.prod(shape) * bytes_of(name, shape) for name, shape in named.items()))


def matrix(name: str, shape: Size) -> bool:
    """Whether a tensor is a matrix of a block."""
    return MATRIX.fullmatch(name) is not None and len(shape) == 2


def model_file(wan: Wan, kind: str) -> int:
    """Bytes of a model file.

    Args:
        kind: ``fp16``; ``fp8 scaled``, a byte for a number of each matrix and two for all else; or a GGUF format as QuantStack
            writes it, with two bytes for a number of what is no matrix of a block.
    """
    if kind == "fp16":
        return total(shapes(wan), lambda name, shape: 2)
    if kind == "fp8 scaled":
        return total(shapes(wan), lambda name, shape: 1 if len(shape) == 2 else 2)
    return gguf_file(wan, kind)


def gguf_file(wan: Wan, kind: str, rest: int = 2) -> int:
    """Bytes of a GGUF file, less its header.

    Args:
        kind: a name in ``BLOCKS``; for K formats with an M at the end, or an S where all matrices are alike (Q3_K_S).
        rest: bytes of a number outside the matrices of the blocks: 2 in QuantStack's files, 4 in city96's.
    """
    base, _, mixed = kind.partition("_K_")

    def bytes_of(name: str, shape: Size) -> float:
        if not matrix(name, shape):
            return rest
        kept = "Q6_K" if mixed == "M" and RICH.search(name) else f"{base}_K" if mixed else kind
        size, weights = BLOCKS[kept]
        return size / weights

    return total(shapes(wan), bytes_of)


def lora_file(wan: Wan, rank: int, number: int = 2) -> int:
    """Bytes of a LoRA on every matrix of the blocks; ``number`` is those of one number."""
    return total(shapes(wan), lambda name, shape: number * rank * sum(shape) / math.prod(shape) if matrix(name, shape) else 0)


def module_file(module: nn.Module, matrices: int = 2) -> int:
    """Bytes of a text encoder or a VAE in 16 bits; ``matrices`` is those of a number in a matrix that is no embedding."""
    named = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return total(named, lambda name, shape: matrices if len(shape) == 2 and "shared" not in name else 2)
