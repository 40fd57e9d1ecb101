"""A frozen base in 8 or 4 bits, with gradients through it, as QLoRA has it (arXiv 2305.14314): the linear layers of the blocks.

bitsandbytes turns each weight into few bits when it is loaded, and back for the time of one product. The layer is ours: those of
the libraries give another dtype under autocast, or keep activations or weights where gradient checkpointing cannot take them away.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

import comfy.ops
import torch
from comfy import model_management
from torch import Tensor
from torch.nn import Module, Parameter

from ...pusa_model.families.table import FAMILIES
from ...schedulers import InputError

FILE = "file"  # held as the file has it
LOSES = {"int8": 0.01, "nf4": 0.35}  # how much more the loss is at most, as a share, for the embedded model; the tests hold it
BLOCK, OUTER = 64, 256  # weights that share a scale in 4 bits, and scales that share one
LARGEST = 127  # in int8
_CODE = 256  # values of a scale in 8 bits
_PART = 2**21  # weights that are turned back at once: a CPU takes room for them in float32, twice
_ENDINGS = tuple(f".{target}" for family in FAMILIES for target in family.targets)


def is_taken(name: str) -> bool:
    """Whether a layer, by its name in the network, is one that is quantised: linear, in a block, and not of the modulation."""
    return name.startswith("blocks.") and name.endswith(_ENDINGS)


def size(kind: str, shape: Sequence[int]) -> int:
    """Bytes that a weight [out, in] takes, with its scales."""
    numbers = math.prod(shape)
    if kind == "int8":
        return numbers + 4 * shape[0]
    scales = math.ceil(numbers / BLOCK)
    return math.ceil(numbers / 2) + scales + 4 * (math.ceil(scales / OUTER) + _CODE + 1)


def check_base_dtype(kind: str) -> None:
    """Refuse a kind that there is not, and to quantise where the package for it is not installed; nothing is imported.

    Raises:
        InputError: says what is allowed, or what to install.
    """
    if kind not in (FILE, *LOSES):
        raise InputError(f"`base_dtype` is {kind}; it must be one of {', '.join((FILE, *LOSES))}.")
    if kind != FILE and importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"`base_dtype` {kind} needs the package bitsandbytes, which is not installed: pip install bitsandbytes")


def rounding(kind: str) -> str:
    """What a base in few bits costs, in words."""
    words = f"The base is held in {kind}, whose rounding raises the loss (on the embedded model by {LOSES[kind]:.0%} at most)."
    mended = " The LoRA learns to mend that, too, which the base of the file does not need; int8 is much nearer to it."
    return f"Warning: {words}{mended}" if kind == "nf4" else words


def base_dtype_of(network: Module) -> str:
    """How the base of a network is held: ``int8``, ``nf4``, or ``file``."""
    return next((module.kind for module in network.modules() if isinstance(module, FrozenLinear) and module.parts), FILE)


def operations(kind: str) -> type:
    """ComfyUI's operations with linear layers that quantise themselves when they are loaded, if they are of the blocks."""
    return type("Quantising", (comfy.ops.manual_cast,), {"Linear": type("Linear", (FrozenLinear,), {"kind": kind})})


class FrozenLinear(comfy.ops.manual_cast.Linear):
    """ComfyUI's linear layer, held in few bits where ``is_taken``; as ever elsewhere.

    Attributes:
        kind: ``int8`` or ``nf4``.
        parts: names of the parameters that its weight consists of; none before it is loaded, and where it is not quantised.
    """

    kind: str
    parts: tuple[str, ...] = ()

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device=None, dtype=None):
        super().__init__(in_features, out_features, bias, torch.device("meta"), dtype)  # room is taken where it is loaded

    def _load_from_state_dict(self, state_dict, prefix, *more):
        weight = state_dict.get(f"{prefix}weight")
        taken = is_taken(prefix[:-1]) and weight is not None and weight.shape == self.weight.shape
        if taken:
            state_dict = {name: value for name, value in state_dict.items() if name != f"{prefix}weight"}
            self.weight = None
        self.to_empty(device="cpu")
        super()._load_from_state_dict(state_dict, prefix, *more)
        if taken:
            found = _quantised(weight, self.kind)
            self.parts = tuple(found)
            for name, value in found.items():
                setattr(self, name, Parameter(value.cpu(), requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """``x W^T + b`` in the dtype of autocast, or else of x; shapes [..., in] and [..., out]."""
        if not self.parts:
            return super().forward(x)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        parts = (getattr(self, name) for name in self.parts)
        return _Product.apply(x.to(dtype), bias, self.kind, (self.out_features, self.in_features), *parts)


class _Product(torch.autograd.Function):
    """A linear layer of which only the few bits are kept for the way back, where they are dequantised again."""

    @staticmethod
    def forward(ctx, x, bias, kind, shape, *parts):
        ctx.kind, ctx.shape = kind, shape
        ctx.save_for_backward(*parts)
        return torch.nn.functional.linear(x, _dequantised(kind, shape, parts, x.dtype), bias)

    @staticmethod
    def backward(ctx, gradient):
        parts = ctx.saved_tensors  # checkpointing gives them once
        weight = _dequantised(ctx.kind, ctx.shape, parts, gradient.dtype)
        return gradient @ weight, None, None, None, *(None for _ in parts)


def _quantised(weight: Tensor, kind: str) -> dict[str, Tensor]:
    """The parts of a weight [out, in], computed on the GPU if there is one."""
    from bitsandbytes import functional

    weight = weight.to(model_management.get_torch_device())
    if kind == "int8":
        numbers, largest, _ = functional.int8_vectorwise_quant(weight.to(torch.float16))
        return {"weight": numbers, "scale": largest[:, None] / LARGEST}
    packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, compress_statistics=True, quant_type=kind)
    return {
        "weight": packed,
        "scale": state.absmax,
        "offset": state.offset.reshape(1),
        "outer": state.state2.absmax,
        "code": state.state2.code,
    }


def _dequantised(kind: str, shape: tuple[int, int], parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """A weight [out, in] out of its parts."""
    from bitsandbytes import functional

    if kind == "int8":
        numbers, scale = parts
        weight = torch.empty(shape, dtype=dtype, device=numbers.device)
        rows = max(1, _PART // shape[1])
        for made, few, scales in zip(weight.split(rows), numbers.split(rows), scale.split(rows)):
            torch.mul(few, scales, out=made)
        return weight
    packed, scale, offset, outer, code = parts
    nested = functional.QuantState(absmax=outer, code=code, blocksize=OUTER, dtype=torch.float32)
    flat = torch.Size([math.prod(shape)])  # in rows, bitsandbytes (0.50, AVX-512) mistakes the scales where one ends in a block
    state = functional.QuantState(
        absmax=scale, shape=flat, blocksize=BLOCK, quant_type=kind, dtype=dtype, offset=offset, state2=nested
    )
    return functional.dequantize_4bit(packed, state).reshape(shape)
