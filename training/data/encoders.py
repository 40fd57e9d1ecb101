"""ComfyUI's VAE and text encoder as functions from a clip or a caption to what a network is trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import comfy.sd
import comfy.utils
import torch
from comfy.text_encoders.genmo import MochiT5XXL
from comfy.text_encoders.wan import WanT5Model
from torch import Tensor

from ...pusa_model.families.lookup import of_vae
from ...pusa_model.families.table import FAMILIES, WAN, Family
from ...schedulers import InputError
from ..files import reason
from .captions import LongCaption

NANO = "nano"
TEXTS = {  # by the type of Load CLIP: ComfyUI's class of the text encoder, and its file
    "wan": (WanT5Model, "umT5-XXL (umt5_xxl_fp16.safetensors), which Wan was trained with"),
    "mochi": (MochiT5XXL, "T5-XXL (t5xxl_fp16.safetensors), which Mochi was trained with"),
}


def load_vae(path: str | Path) -> tuple[object, Family]:
    """A VAE by ComfyUI's loader, and the family whose latents it makes.

    Raises:
        InputError: there is no file, or it is no VAE of a family that can be trained.
    """
    if not Path(path).is_file():
        raise InputError(f"`vae`: there is no file {path}.")
    try:
        weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        vae.throw_exception_if_invalid()
    except Exception as error:  # every reader has its own; the file is at fault for all of them
        raise InputError(f"`vae`: {path} cannot be read as a VAE: {reason(error)}.") from error
    return vae, check_family_of(vae)


def check_family_of(vae) -> Family:
    """The family whose latents a VAE makes.

    Raises:
        InputError: it is of none that can be trained.
    """
    family = of_vae(vae)
    if family is None:
        known = ", or ".join(sorted({each.vae for each in FAMILIES}))
        raise InputError(f"`vae`: this is not the VAE of a model that is trained here. Use {known}.")
    return family


def vae_encoder(vae, family: Family, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Function from frames [nk + 1, H, W, 3] in [0, 1] to the latent [C, k + 1, H / ratio, W / ratio] as the network sees it.

    That is what ``process_latent_in`` makes of the VAE's latent, per channel less its mean and divided by its deviation; or the
    latent as the VAE makes it, of a family whose network sees that.

    Raises:
        InputError: a part of the VAE is missing.
    """
    encoder = family.encoder(vae) if family.encoder else vae
    seen = (lambda latent: latent) if family.raw else family.latent_format().process_in
    return lambda frames: seen(encoder.encode(frames))[0].to("cpu", dtype)


def text_encoder(path: str | Path | None, family: Family = WAN) -> Callable[[str], Tensor]:
    """Function from a caption to its embedding [L, 4096]; the file is read when the first caption asks for it.

    The path ``nano`` stands for the words of the embedded model, which need no file; embeddings are [16, 256] then.

    Raises (when called):
        InputError: no file was given, or it cannot be read.
    """
    if path == NANO:
        from ..nano import words

        return words.embed

    kind = family.text.split()[0]
    made, wanted = TEXTS[kind]

    @cache
    def load():
        if path is None:
            raise InputError(f"`text_encoder`: there are captions without an embedding; give the file of {wanted}.")
        if not Path(path).is_file():
            raise InputError(f"`text_encoder`: there is no file {path}.")
        try:
            clip = comfy.sd.load_clip([str(path)], clip_type=comfy.sd.CLIPType[kind.upper()])
        except Exception as error:  # as above
            raise InputError(f"`text_encoder`: {path} cannot be read as a text encoder: {reason(error)}.") from error
        if not isinstance(clip.cond_stage_model, made):  # ComfyUI takes whatever it does not know for another one
            raise InputError(f"`text_encoder`: {path} is not {wanted}.")
        return clip

    return lambda caption: encode_text(load(), caption, family)


def encode_text(clip, caption: str, family: Family = WAN) -> Tensor:
    """Embedding [L, width] of a caption, as ComfyUI's CLIP Text Encode makes it; of a family with masks, its tokens alone.

    An empty caption has one token then, its end, which the network takes for none.

    Raises:
        LongCaption: it has more tokens than the family takes.
    """
    encoded = clip.encode_from_tokens(clip.tokenize(caption), return_dict=True)
    embedding = encoded["cond"][0]
    if family.masked:
        embedding = embedding[: int(encoded["attention_mask"][0].sum())]
    if family.tokens is not None and len(embedding) > family.tokens:
        raise LongCaption(f"its caption has {len(embedding)} tokens; {family.name} takes {family.tokens}, so shorten it")
    return embedding.to("cpu", copy=True)
