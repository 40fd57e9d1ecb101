"""A node pack for test servers: small networks in place of those that ComfyUI builds at one size only, whatever a file holds.

The reference network for Mochi's file of 20 GB, and the VAEs of Mochi and of Wan2.2 5B with fewer channels.
"""

import sys
from pathlib import Path

import comfy.ldm.genmo.vae.model
import comfy.ldm.wan.vae2_2
import comfy.sd

sys.path.append(str(Path(__file__).resolve().parent.parent))

import mochi  # noqa: E402
import tiny  # noqa: E402

NODE_CLASS_MAPPINGS: dict = {}
load_file, wan22_vae = comfy.sd.load_diffusion_model, comfy.ldm.wan.vae2_2.WanVAE


def load_diffusion_model(path, *args, **kwargs):
    """The reference network for the file that has Pusa V0.5's name."""
    return mochi.model() if "pusa_v0" in Path(path).name else load_file(path, *args, **kwargs)


comfy.sd.load_diffusion_model = load_diffusion_model
comfy.ldm.genmo.vae.model.VideoVAE = mochi.SmallVAE
comfy.ldm.wan.vae2_2.WanVAE = lambda **given: wan22_vae(**given | tiny.WAN22_VAE)
