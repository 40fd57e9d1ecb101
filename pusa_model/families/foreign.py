"""Whose a VAE or a latent is: families that are not in the table make what has the form of its own and means something else."""

from __future__ import annotations

import comfy.ldm.genmo.vae.model
import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
from comfy.taesd.taehv import TAEHV
from torch import Tensor

KNOWN_VAES = (comfy.ldm.wan.vae.WanVAE, comfy.ldm.wan.vae2_2.WanVAE, comfy.ldm.genmo.vae.model.VideoVAE)
"""Those of the families in the table."""

VAE_MODULES = {
    "comfy.ldm.ace.": "ACE-Step, which makes sound",
    "comfy.ldm.audio.": "Stable Audio, which makes sound",
    "comfy.ldm.cogvideo.": "CogVideoX",
    "comfy.ldm.cosmos.": "Cosmos 1",
    "comfy.ldm.lightricks.vae.audio": "LTX-2, which makes sound",
    "comfy.ldm.lightricks.": "LTX-Video",
    "comfy.ldm.minimax.": "MiniMax H3",
    "comfy.ldm.mmaudio.": "MMAudio, which makes sound",
    "comfy.ldm.seedvr.": "SeedVR2",
}
"""Family by the module of ComfyUI that a VAE's network is from; the first that fits."""

LATENTS = {
    (5, 24): "MiniMax H3",
    (5, 32): "HunyuanVideo 1.5",
    (5, 128): "LTX-Video",
    (4, 3): "a model that works on pixels",
    (4, 4): "Stable Diffusion",
    (4, 8): "ACE-Step",
    (4, 16): "a picture model such as Flux",
    (4, 32): "MiniMax H3, of its sound",
    (4, 64): "HunyuanImage",
    (4, 128): "Flux.2",
    (3, 64): "Stable Audio",
    (3, 256): "Stable Audio 3",
}
"""Family by the axes and channels of a latent; not those of the families in the table, which have five axes."""


PROMPTS = {
    768: "Stable Diffusion 1 (CLIP-L)",
    1024: "Stable Diffusion 2 (OpenCLIP-H)",
    2048: "SDXL",
    2304: "Lumina 2 (Gemma 2)",
    3584: "Qwen-Image or HunyuanVideo 1.5 (Qwen2.5-VL)",
    4096: "a model with the T5-XXL family, such as Wan or Mochi",
}
"""For whom text is encoded to features of this width."""


def other_vae(vae) -> str | None:
    """The family of a VAE that is known to be of none in the table; None of those there, however wrapped, and of unknown ones."""
    network = getattr(vae.first_stage_model, "_orig_mod", vae.first_stage_model)  # where torch.compile keeps its module
    if any(isinstance(module, KNOWN_VAES) for module in getattr(network, "modules", list)()):
        return None
    if isinstance(network, TAEHV):  # its form is the same for all; HunyuanVideo's is scaled by that family's format
        return getattr(network.latent_format, "__name__", None)
    origins = [kind.__module__ for kind in type(network).__mro__]
    if "comfy.ldm.models.autoencoder" in origins:
        return "HunyuanVideo" if getattr(vae, "latent_dim", 2) == 3 else "a picture model"
    return next((name for start, name in VAE_MODULES.items() if any(each.startswith(start) for each in origins)), None)


def other_latent(latent: Tensor) -> str | None:
    """The family that makes latents with these axes and channels, in words; None for those in the table and unknown ones."""
    return LATENTS.get((latent.ndim, latent.shape[1])) if latent.ndim > 1 else None
