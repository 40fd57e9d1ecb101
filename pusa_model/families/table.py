"""The table of model families: one record each, and nothing about a family is written anywhere else but in its network's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import comfy.latent_formats

from .mochi import exchange_forward, is_empty_prompt
from .mochi_vae import causal_copy, check_whole
from .networks import TEXT_TO_VIDEO, WAN_RELATIVES, Network

FLOW_MATCH = "flow_match"


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
        scheduler: by name, that of its sampling; "flow_match" is ``schedulers.flow_match_sigmas`` with the shift.
        shift, cfg: recommended settings; no shift where the scheduler has none.
        multiplier: timestep of the network at level 1.
        needs_lora: whether given frames ask for the Pusa LoRA.
        vae: its VAE, in words.
        empty: ComfyUI's node for its empty latent.
        text: the text encoder, as Load CLIP has it.
        tokens: of a prompt, at most; None where there is no end.
        masked: whether its prompts come with a mask, of which an empty prompt has nothing.
        raw: whether its network sees condition frames as the VAE makes them, while what it makes is in normalised units.
        encoder: gives what encodes in place of a VAE; None where the VAE itself does.
        whole: refuses a VAE of which a part is missing; None where there is no such file.
        tiles: of its frames, what a VAE decodes at a time where a clip takes more memory than there is: ``tile_size``, ``overlap``,
            ``temporal_size`` and ``temporal_overlap`` of VAE Decode (Tiled); None leaves that to the VAE.
        marks: what the name of a model file holds, where nothing inside the file tells.
        embedding: the weight of its networks that makes tokens of a latent, [width, channels, ...].
        targets: linear layers of the blocks that a LoRA is trained on, by the ends of their names.
        trained: of the 1000 levels of its schedule, how many are trained on, from the highest on.
    """

    name: str
    networks: Mapping[str, Network]
    latent_format: type[comfy.latent_formats.LatentFormat]
    factor: int
    ratio: int
    rate: Fraction
    frames: int
    scheduler: str
    shift: float | None
    cfg: float
    multiplier: float
    needs_lora: bool
    vae: str
    empty: str
    text: str
    tokens: int | None = None
    masked: bool = False
    raw: bool = False
    encoder: Callable[[Any], Any] | None = None
    whole: Callable[[Any], None] | None = None
    tiles: tuple[int, int, int, int] | None = None
    marks: tuple[str, ...] = ()
    embedding: str = "patch_embedding.weight"
    targets: tuple[str, ...] = ("q", "k", "v", "o", "ffn.0", "ffn.2")
    trained: int = 1000

    @property
    def channels(self) -> int:
        """Channels of its latents."""
        return self.latent_format.latent_channels

    @property
    def grid(self) -> int:
        """Pixels of a patch of the network, which a side of the video is a multiple of."""
        return 2 * self.ratio

    @property
    def own_forward(self) -> bool:
        """Whether its networks are run by a forward of this pack, in place of their own."""
        return all(network.own_forward is not None for network in self.networks.values())

    @property
    def settings(self) -> str:
        """What is recommended for it, in one line."""
        schedule = f"scheduler {self.scheduler}" if self.shift is None else f"shift {self.shift:g}"
        advice = f"{schedule} and cfg {self.cfg:g} are recommended"
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
    scheduler=FLOW_MATCH,
    shift=5.0,
    cfg=3.0,
    multiplier=1000.0,
    needs_lora=True,
    vae="the Wan2.1 VAE (wan_2.1_vae.safetensors)",
    empty="EmptyHunyuanLatentVideo",
    text="wan (umt5_xxl)",
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
    scheduler=FLOW_MATCH,
    shift=5.0,
    cfg=5.0,
    multiplier=1000.0,
    needs_lora=False,
    vae="the Wan2.2 VAE (wan2.2_vae.safetensors)",
    empty="Wan22ImageToVideoLatent",
    text="wan (umt5_xxl)",
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

MOCHI = Family(
    name="Mochi 1 (Pusa V0.5)",
    networks={"AsymmDiTJoint": Network("Mochi 1", own_forward=exchange_forward, asks=is_empty_prompt)},
    latent_format=comfy.latent_formats.Mochi,
    factor=6,
    ratio=8,
    rate=Fraction(30),
    frames=163,
    scheduler="linear_quadratic",
    shift=None,
    cfg=4.5,
    multiplier=1.0,
    needs_lora=False,
    vae="the Mochi VAE, encoder and decoder in one file",
    empty="EmptyMochiLatentVideo",
    text="mochi (t5xxl)",
    tokens=256,
    masked=True,
    raw=True,
    encoder=causal_copy,
    whole=check_whole,
    tiles=(256, 64, 60, 24),
    embedding="x_embedder.proj.weight",
    targets=("qkv_x", "qkv_y", "proj_x", "proj_y", "w1", "w2"),
    trained=999,
)
"""Pusa V0.5, a whole fine-tune of Mochi 1; how its network is reached is in ``mochi.py``, its VAE in ``mochi_vae.py``."""

WIDTHS = {1536: "Wan 1.3B", 3072: "Wan2.2 TI2V 5B", 5120: "Wan 14B"}


def sized(width: int) -> str:
    """The width of a network, and whose it is."""
    return f"{width} ({WIDTHS[width]})" if width in WIDTHS else str(width)


FAMILIES = (SKYREELS, WAN22_5B, MOCHI, WAN)
