"""ComfyUI's networks at their true sizes on the meta device: names and shapes, no memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import comfy.ops
import comfy.supported_models
import comfy.text_encoders.t5
import torch
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import WanVAE
from comfy.ldm.wan.vae2_2 import WanVAE as WanVAE22
from torch import nn

META = {"device": "meta", "dtype": torch.bfloat16, "operations": comfy.ops.disable_weight_init}
UMT5 = Path(comfy.text_encoders.t5.__file__).with_name("umt5_config_xxl.json")


@dataclass(frozen=True)
class Video:
    """Frames x width x height, and what they are as a latent.

    Attributes:
        side: video pixels to a side of a latent pixel.
    """

    name: str
    frames: int
    width: int
    height: int
    side: int = 8

    @property
    def latent(self) -> tuple[int, int, int]:
        """Latent frames, height, width: Wan's VAEs take the first frame alone and then fours."""
        return (self.frames - 1) // 4 + 1, self.height // self.side, self.width // self.side


@dataclass(frozen=True)
class Wan:
    """Widths of one of Wan's text-to-video networks, and the videos that it is made for, smallest first."""

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    videos: tuple[Video, ...]
    channels: int = 16

    def network(self, layers: int | None = None) -> WanModel:
        """The network without weights, with fewer blocks on demand."""
        widths = {"dim": self.dim, "ffn_dim": self.ffn_dim, "num_heads": self.num_heads, "num_layers": layers or self.num_layers}
        return WanModel(model_type="t2v", in_dim=self.channels, out_dim=self.channels, text_dim=4096, **widths, **META)

    @property
    def memory_usage_factor(self) -> float:
        """ComfyUI's own, of this width."""
        return comfy.supported_models.WAN21_T2V({"dim": self.dim}).memory_usage_factor


WAN_14B = Wan(5120, 13824, 40, 40, (Video("480p", 81, 832, 480), Video("720p", 81, 1280, 720)))
WAN_5B = Wan(3072, 14336, 24, 30, (Video("704p", 121, 1280, 704, side=16),), channels=48)


@cache
def shapes(wan: Wan) -> dict[str, torch.Size]:
    """Names and shapes of a network's tensors."""
    return {name: tensor.shape for name, tensor in wan.network().state_dict().items()}


@cache
def text_encoder() -> nn.Module:
    """UmT5-XXL."""
    return comfy.text_encoders.t5.T5(json.loads(UMT5.read_text()), META["dtype"], META["device"], META["operations"])


@cache
def vae(channels: int) -> nn.Module:
    """The VAE of Wan2.1 and Wan2.2 A14B, 16 channels, or that of Wan2.2 5B, 48."""
    with torch.device("meta"):
        if channels == 48:
            return WanVAE22(z_dim=channels, temperal_downsample=[False, True, True])
        return WanVAE(dim=96, z_dim=channels, temperal_downsample=[False, True, True])
