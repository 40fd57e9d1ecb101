"""A node pack for test servers: the reference network in place of Mochi's 20 GB file, and its VAE with fewer channels.

ComfyUI builds Mochi at one size only, whatever a file holds, so a small file cannot take the place of the large one.
"""

import sys
from pathlib import Path

import comfy.ldm.genmo.vae.model
import comfy.sd

sys.path.append(str(Path(__file__).resolve().parent.parent))

import mochi  # noqa: E402

NODE_CLASS_MAPPINGS: dict = {}
load_file = comfy.sd.load_diffusion_model


def load_diffusion_model(path, *args, **kwargs):
    """The reference network for the file that has Pusa V0.5's name."""
    return mochi.model() if "pusa_v0" in Path(path).name else load_file(path, *args, **kwargs)


comfy.sd.load_diffusion_model = load_diffusion_model
comfy.ldm.genmo.vae.model.VideoVAE = mochi.SmallVAE
