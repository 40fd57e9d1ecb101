"""What a call of the network takes on a card, and how much of the weights finds a place beside it."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hosting.process import pack_module

from .networks import META, Video, Wan

GIB = 2**30  # as cards and RAM are sold
DESKTOP = 1.0  # GiB that the driver and the screen are reckoned with
INFERENCE = 0.8 + 0.7  # GiB that ComfyUI keeps free for any model, and what it reserves on Windows
COMPUTER = 4.0  # GiB of RAM for the system and for ComfyUI with PyTorch
DECODE = {16: 7000, 48: 8000}  # numbers for a video pixel of one frame, by channels of the latent
FLASH, OTHER = 2 * 0.01, 0.15  # MiB for a latent pixel and memory_usage_factor, with PyTorch's attention in 16 bits and without


class Living(TorchDispatchMode):
    """Counts the bytes of tensors that live at once, whether they have memory or not.

    Attributes:
        most: bytes beyond those of ``before``.
    """

    def __init__(self, before: list[torch.Tensor]):
        super().__init__()
        self.seen, self.now, self.most = {tensor.untyped_storage()._cdata for tensor in before}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return made

    def count(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is gone."""
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())

    def forget(self, key: int, size: int) -> None:
        """A storage is gone."""
        self.seen.discard(key)
        self.now -= size


def attention_in_place(function, q, k, v, heads, **options) -> torch.Tensor:
    """What a flash kernel leaves: its result, in the shape of the queries [B, L, C]."""
    return torch.empty_like(q)


@cache
def call_bytes(wan: Wan, video: Video, rows: int = 1, layers: int = 2) -> int:
    """Most bytes that one call with a timestep for every latent frame holds at once in bfloat16, without the weights.

    The network and this pack's blocks run on the meta device. Attention counts with its result alone, as flash kernels work.

    Args:
        rows: 2 where both prompts go in one call.
    """
    modulation, network = pack_module("pusa_model.network.modulation"), wan.network(layers)
    frames, height, width = video.latent
    made = {"device": META["device"], "dtype": META["dtype"]}
    x = torch.empty(rows, wan.channels, frames, height, width, **made)
    timesteps = torch.empty(rows, frames, device=META["device"])
    context = torch.empty(rows, 512, 4096, **made)
    options = {"optimized_attention_override": attention_in_place}
    modulation.add_replacements(options, modulation.frame_blocks(network))
    counted = Living([*network.state_dict(keep_vars=True).values(), x, timesteps, context])
    with torch.no_grad(), counted:
        network(x, timesteps, context, transformer_options=options)
    return counted.most


def kept_free(wan: Wan, video: Video, flash: bool = True) -> float:
    """Bytes that ComfyUI keeps free for a call with one row, by its own formula (``BaseModel.memory_required``).

    Args:
        flash: PyTorch's attention, which ComfyUI takes on NVIDIA cards.
    """
    return math.prod(video.latent) * (FLASH if flash else OTHER) * wan.memory_usage_factor * 2**20


def decode_bytes(wan: Wan, video: Video) -> float:
    """Bytes that ComfyUI reckons with for VAE Decode in 16 bits (``comfy.sd.VAE``); else it decodes in tiles."""
    frames, height, width = video.latent
    return DECODE[wan.channels] * height * width * video.side**2 * 2


@dataclass(frozen=True)
class Fit:
    """How a model runs on a card.

    Attributes:
        runs: whether a call has its memory when all weights are streamed.
        share: of the weights that stay on the card; the rest is copied there in every call.
    """

    runs: bool
    share: float


def fit(card: float, wan: Wan, weights: int, video: Video) -> Fit:
    """How a model whose file has ``weights`` bytes makes a video on a card of ``card`` GiB."""
    usable = (card - DESKTOP - INFERENCE) * GIB
    share = (usable - kept_free(wan, video)) / weights
    return Fit(call_bytes(wan, video) <= usable, min(1.0, max(0.0, share)))
