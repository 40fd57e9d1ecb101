"""Mochi's VAE as it was trained: an encoder that looks back in time alone, and both of its halves.

ComfyUI's temporal attention of the encoder sees the whole clip. So latents of a clip would depend on frames that come after them,
and none but that of a single picture would be the official ones. What encodes here is a copy whose attention is causal; the VAE
itself is left as it is. The official files of the encoder and of the decoder lie apart, and either loads alone as a VAE.

Source: the VAE of Mochi 1 as Pusa V0.5 uses it (``CausalSelfAttention`` of its code); of the posterior ComfyUI takes the mean.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from comfy.ldm.genmo.vae.model import Attention
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from ...schedulers import InputError

ABSURD = 1e4  # no weight of a norm is as large
ROWS = 2**15  # places of a picture that attend at once: kernels of CUDA take no batch above 2**16


def causal_copy(vae):
    """A copy of a Mochi VAE whose encoder is causal.

    Raises:
        InputError: the file of the VAE held no encoder.
    """
    check_half(vae, "encoder")
    copied = copy.copy(vae)
    copied.patcher = vae.patcher.clone()
    for name, module in vae.first_stage_model.named_modules():
        if isinstance(module, Attention) and name.startswith("encoder."):
            copied.patcher.add_object_patch(f"{name}.forward", partial(attention, module))
    return copied


def check_whole(vae) -> None:
    """Refuse a VAE that was read from one half, see ``check_half``."""
    for half in ("encoder", "decoder"):
        check_half(vae, half)


def check_half(vae, half: str) -> None:
    """Refuse a VAE whose file was only its other half; ComfyUI loads that, and leaves the weights of this one as memory was.

    Args:
        half: "encoder" or "decoder".

    Raises:
        InputError: the weights of this half were not in the file.
    """
    for module in getattr(vae.first_stage_model, half).modules():
        weight = getattr(module, "weight", None)
        if weight is None or isinstance(module, nn.Linear) and module.bias is None:
            continue
        first = weight.detach().flatten()[:4096].float()
        if not first.isfinite().all() or not first.any() or isinstance(module, nn.GroupNorm) and first.abs().max() > ABSURD:
            raise InputError(
                f"the file of the VAE holds no {half}: Mochi's official encoder.safetensors and decoder.safetensors are each one "
                "half. In this pack's folder `python -m devtools.weights.join ENCODER DECODER WHOLE` makes one file of two, and "
                "`python dev.py download mochi` fetches and joins them."
            )


def attention(layer: Attention, x: Tensor) -> Tensor:
    """Temporal self-attention [B, C, T, h, w] in which a frame sees itself and those before it."""
    height, width = x.shape[3:]
    tokens = rearrange(x, "b c t h w -> (b h w) t c")
    q, k, v = rearrange(layer.qkv(tokens), "n t (three heads d) -> three n heads t d", three=3, heads=layer.num_heads)
    if layer.qk_norm:
        q, k = (normalize(each, p=2, dim=-1) for each in (q, k))
    seen = torch.cat([scaled_dot_product_attention(*each, is_causal=True) for each in zip(*(a.split(ROWS) for a in (q, k, v)))])
    out = layer.out(rearrange(seen, "n heads t d -> n t (heads d)"))
    return rearrange(out, "(b h w) t c -> b c t h w", h=height, w=width)
