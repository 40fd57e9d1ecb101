"""The table of model families: one record each, and nothing about a family is written anywhere else but in its network's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import comfy.latent_formats

from .networks import TEXT_TO_VIDEO, WAN_RELATIVES, Network


@dataclass(frozen=True)
class Family:
    """What the models of a family have in common.

    Attributes:
        name: of the family in messages.
        networks: how the vector of timesteps reaches each of its networks, by the name of ComfyUI's class.
        latent_format: ComfyUI's class for its latents; says how many channels they have.
        factor: n, pixel frames of every latent frame but the first, which is one.
        ratio: pixels of a latent pixel, along either side; the network takes patches of 2 x 2 of these.
        rate: frames per second that it was trained at.
        frames: pixel frames of a clip at which it is at home.
        shift, cfg: recommended settings.
        multiplier: timestep of the network at level 1.
        needs_lora: whether given frames ask for the Pusa LoRA.
        vae: its VAE, in words.
        empty: ComfyUI's node for its empty latent.
        marks: what the name of a model file holds, where nothing inside the file tells.
    """

    name: str
    networks: Mapping[str, Network]
    latent_format: type[comfy.latent_formats.LatentFormat]
    factor: int
    ratio: int
    rate: Fraction
    frames: int
    shift: float
    cfg: float
    multiplier: float
    needs_lora: bool
    vae: str
    empty: str
    marks: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of its latents."""
        return self.latent_format.latent_channels

    @property
    def grid(self) -> int:
        """Pixels of a patch of the network, which a side of the video is a multiple of."""
        return 2 * self.ratio

    @property
    def settings(self) -> str:
        """What is recommended for it, in one line."""
        advice = f"shift {self.shift:g} and cfg {self.cfg:g} are recommended"
        return f"{self.name}: {self.frames} frames at {self.rate} per second; {advice}"

    def __str__(self) -> str:
        """Name and channels, as messages have them."""
        return f"{self.name} ({self.channels} channels)"


WAN = Family(
    name="Wan2.1 (and 2.2 A14B)",
    networks=WAN_RELATIVES,
    latent_format=comfy.latent_formats.Wan21,
    factor=4,
    ratio=8,
    rate=Fraction(16),
    frames=81,
    shift=5.0,
    cfg=3.0,
    multiplier=1000.0,
    needs_lora=True,
    vae="the Wan2.1 VAE (wan_2.1_vae.safetensors)",
    empty="EmptyHunyuanLatentVideo",
)
"""Pusa V1.0 (arXiv 2507.16116) and its Wan2.2 files; the relatives are ``networks.WAN_RELATIVES``."""

WAN22_5B = Family(
    name="Wan2.2 TI2V 5B",
    networks={"WanModel": TEXT_TO_VIDEO},
    latent_format=comfy.latent_formats.Wan22,
    factor=4,
    ratio=16,
    rate=Fraction(24),
    frames=121,
    shift=5.0,
    cfg=5.0,
    multiplier=1000.0,
    needs_lora=False,
    vae="the Wan2.2 VAE (wan2.2_vae.safetensors)",
    empty="Wan22ImageToVideoLatent",
)
"""Trained with a clean first frame and a timestep of 0 for it, so that it follows given frames by itself."""

SKYREELS = replace(
    WAN,
    name="SkyReels-V2 Diffusion Forcing",
    networks={"WanModel": TEXT_TO_VIDEO},
    rate=Fraction(24),
    frames=97,
    shift=8.0,
    cfg=6.0,
    needs_lora=False,
    marks=("skyreels", "df"),
)
"""Trained with a level of its own for every frame (arXiv 2504.13074). Its 14B file has just Wan2.1's keys."""

WIDTHS = {1536: "Wan 1.3B", 3072: "Wan2.2 TI2V 5B", 5120: "Wan 14B"}


def sized(width: int) -> str:
    """The width of a network, and whose it is."""
    return f"{width} ({WIDTHS[width]})" if width in WIDTHS else str(width)


FAMILIES = (SKYREELS, WAN22_5B, WAN)
