"""ComfyUI's Wan VAE over a whole clip at once: the same weights, the same result, without the cache, so that it trains.

ComfyUI (as the official code) encodes and decodes a clip in pieces and hands the ends of feature maps from piece to piece. The
convolutions are causal, so the whole clip in one pass is the same sum, if the two resampling layers treat frame 0 as the cache
does: the encoder's passes it on, the decoder's passes it on and starts its own history behind it.
"""

import torch
from comfy.ldm.wan.vae import AttentionBlock, CausalConv3d, Resample, ResidualBlock, RMS_norm
from einops import rearrange
from torch import Tensor
from torch.nn import functional


def encode(vae, video: Tensor) -> Tensor:
    """Mean of the latents of a clip, before any normalisation.

    Args:
        vae: ComfyUI's WanVAE.
        video: [B, 3, 4n + 1, H, W] in [-1, 1]; H and W are multiples of 8. Its dtype is that of the computation.

    Returns:
        [B, 16, n + 1, H / 8, W / 8].
    """
    return channels_first(run(vae.conv1, run(vae.encoder, channels_last(video)))).chunk(2, dim=1)[0]


def decode(vae, latent: Tensor) -> Tensor:
    """The clip [B, 3, 4n + 1, 8h, 8w], about [-1, 1], of latents [B, 16, n + 1, h, w]."""
    return channels_first(run(vae.decoder, run(vae.conv2, channels_last(latent))))


def channels_last(x: Tensor) -> Tensor:
    """[B, C, T, H, W] as [B, T, H, W, C], the order in memory that a processor convolves fastest; used within this file."""
    return x.movedim(1, -1).contiguous()


def channels_first(x: Tensor) -> Tensor:
    """The way back."""
    return x.movedim(-1, 1)


def run(module, x: Tensor) -> Tensor:
    """One module of the VAE on [B, T, H, W, C]."""
    if isinstance(module, CausalConv3d):
        return convolve(module, x, history=module._padding)
    if isinstance(module, RMS_norm):
        return functional.rms_norm(x, x.shape[-1:], module.gamma.flatten().to(x.dtype), eps=1e-12)
    if isinstance(module, ResidualBlock):
        return chain(module.residual, x) + run(module.shortcut, x)
    if isinstance(module, AttentionBlock):
        return x + attend(module, x)
    if isinstance(module, Resample):
        return resample(module, x)
    if hasattr(module, "middle"):  # the encoder or the decoder
        x = run(module.conv1, x)
        for part in (getattr(module, "downsamples", ()), module.middle, getattr(module, "upsamples", ()), module.head):
            x = chain(part, x)
        return x
    return module(x)


def chain(modules, x: Tensor) -> Tensor:
    """One after the other."""
    for module in modules:
        x = run(module, x)
    return x


def convolve(layer, x: Tensor, history: int) -> Tensor:
    """Convolution over time and space, with `history` empty frames before the first."""
    weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
    if history and x.shape[1] == 1:  # all taps but the last meet empty frames
        return convolve_frames(x, weight[:, :, -1], bias, layer.stride[1:], layer.padding[1:])
    if history:
        x = functional.pad(x, (0, 0, 0, 0, 0, 0, history, 0))
    y = functional.conv3d(channels_first(x), weight, bias, layer.stride, layer.padding)
    return channels_last(y)


def convolve_frames(x: Tensor, weight: Tensor, bias: Tensor, stride, padding) -> Tensor:
    """Convolution within each frame."""
    y = functional.conv2d(rearrange(x, "b t h w c -> (b t) c h w"), weight, bias, stride, padding)
    return rearrange(y, "(b t) c h w -> b t h w c", t=x.shape[1]).contiguous()


def attend(block, x: Tensor) -> Tensor:
    """Attention within each frame."""
    weights = [layer.weight.flatten(1).to(x.dtype) for layer in (block.to_qkv, block.proj)]
    pixels = rearrange(run(block.norm, x), "b t h w c -> b t (h w) c")
    q, k, v = functional.linear(pixels, weights[0], block.to_qkv.bias.to(x.dtype)).chunk(3, dim=-1)
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return functional.linear(mixed, weights[1], block.proj.bias.to(x.dtype)).reshape(x.shape)


def resample(layer, x: Tensor) -> Tensor:
    """Halve or double space, and time where the layer does."""
    if layer.mode == "upsample3d" and x.shape[1] > 1:
        later = convolve(layer.time_conv, x[:, 1:], history=2)
        later = rearrange(later, "b t h w (two c) -> b (t two) h w c", two=2)
        x = torch.cat([x[:, :1], later], dim=1)
    if layer.mode.startswith("upsample"):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    else:
        x = functional.pad(x, (0, 0, 0, 1, 0, 1))
    convolution = layer.resample[1]
    weight, bias = convolution.weight.to(x.dtype), convolution.bias.to(x.dtype)
    x = convolve_frames(x, weight, bias, convolution.stride, convolution.padding)
    if layer.mode == "downsample3d" and x.shape[1] > 1:
        x = torch.cat([x[:, :1], convolve(layer.time_conv, x, history=0)], dim=1)
    return x
