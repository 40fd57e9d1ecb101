"""ComfyUI's VAE and text encoder as functions from a clip or a caption to what a network is trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import comfy.latent_formats
import comfy.sd
import comfy.utils
import torch
from comfy.text_encoders.wan import WanT5Model
from torch import Tensor

from ...schedulers import InputError

FORMAT = comfy.latent_formats.Wan21


def video_encoder(path: str | Path, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Function from frames [4n + 1, H, W, 3] in [0, 1] to the latent [16, n + 1, H / 8, W / 8] in the scale of the model.

    That is what ``process_latent_in`` makes of the VAE's latent: per channel, less its mean and divided by its deviation.

    Raises:
        InputError: the file is no VAE of Wan2.1.
    """
    try:
        weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        vae.throw_exception_if_invalid()
    except Exception as error:  # every reader has its own; the file is at fault for all of them
        raise InputError(f"`vae`: {path} cannot be read as a VAE ({error}).") from error
    return vae_encoder(vae, dtype)


def vae_encoder(vae, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The same for a VAE that is loaded already."""
    if vae.latent_dim != 3 or vae.latent_channels != FORMAT.latent_channels:
        raise InputError("`vae`: this is not the VAE of Wan2.1 (wan_2.1_vae.safetensors), which Wan2.2's 14B models use too.")
    scale = FORMAT()
    return lambda frames: scale.process_in(vae.encode(frames))[0].to("cpu", dtype)


def text_encoder(path: str | Path | None) -> Callable[[str], Tensor]:
    """Function from a caption to its embedding [L, 4096]; the file is read when the first caption asks for it.

    Raises (when called):
        InputError: no file was given, or it cannot be read.
    """

    @cache
    def load():
        if path is None:
            raise InputError("`text_encoder`: there are captions without an embedding; give the umT5-XXL file.")
        if not Path(path).is_file():
            raise InputError(f"`text_encoder`: there is no file {path}.")
        try:
            clip = comfy.sd.load_clip([str(path)], clip_type=comfy.sd.CLIPType.WAN)
        except Exception as error:  # as above
            raise InputError(f"`text_encoder`: {path} cannot be read as a text encoder ({error}).") from error
        if not isinstance(clip.cond_stage_model, WanT5Model):  # ComfyUI takes whatever it does not know for another one
            raise InputError(f"`text_encoder`: {path} is not umT5-XXL (umt5_xxl_fp16.safetensors), which Wan was trained with.")
        return clip

    return lambda caption: encode_text(load(), caption)


def encode_text(clip, caption: str) -> Tensor:
    """Embedding [L, width] of a caption, as ComfyUI's CLIP Text Encode makes it."""
    return clip.encode_from_tokens(clip.tokenize(caption))[0].to("cpu", copy=True)
