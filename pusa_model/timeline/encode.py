"""Pictures and clips to condition latents, through ComfyUI's own VAE."""

from __future__ import annotations

import comfy.utils
import torch
from einops import rearrange
from torch import Tensor

from ...schedulers import InputError, check_length, pixel_length
from ...schedulers.finite import all_finite
from ...schedulers.geometry import FACTOR
from ..families.foreign import other_vae
from ..families.lookup import of_channels, of_vae, whose_latent
from ..families.table import WAN
from .latent_cache import LatentCache

FITS = ["crop", "pad", "stretch"]
ENCODINGS = ["still", "causal"]
_latents = LatentCache()


def fit_images(images: Tensor, width: int, height: int, fit: str) -> Tensor:
    """Bring pictures [N, H, W, 3] in [0, 1] to float32 and to a size: unchanged where they have it, else with Lanczos.

    Args:
        fit: ``crop`` fills the frame and cuts the longer side evenly, ``pad`` keeps everything on black bars,
            ``stretch`` ignores the aspect ratio.

    Returns:
        Pictures shaped [N, height, width, 3].

    Raises:
        InputError: another number of axes or channels, no pixels, or values that are not finite.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"the picture has the shape {tuple(images.shape)}; RGB pictures [frames, height, width, 3] are needed. "
            "Remove an alpha channel with Split Image with Alpha, and turn masks into images first."
        )
    if not images.numel():
        raise InputError(f"the picture has no pixels: its shape is {tuple(images.shape)}.")
    if not all_finite(images):
        raise InputError("the picture holds values that are not finite (NaN or infinity).")
    if fit not in FITS:
        raise InputError(f"there is no fit `{fit}`; use {', '.join(FITS)}.")
    images = images.float()  # upscalers and interpolators of other packs give half or double precision
    _, found_height, found_width, _ = images.shape
    if (found_width, found_height) == (width, height):
        return images
    if fit != "pad":
        return _resize(images, width, height, "center" if fit == "crop" else "disabled")
    scale = min(width / found_width, height / found_height)
    inner_width, inner_height = max(1, round(found_width * scale)), max(1, round(found_height * scale))
    padded = images.new_zeros((images.shape[0], height, width, 3))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded[:, top : top + inner_height, left : left + inner_width] = _resize(images, inner_width, inner_height, "disabled")
    return padded


def target_size(vae, latent: Tensor) -> tuple[int, int]:
    """Pixel (width, height) that a target latent [B, C, T, h, w] stands for with this VAE.

    Raises:
        InputError: the VAE is that of another family, or not a video VAE with the latent's channels.
    """
    stranger, own, wanted = other_vae(vae), of_vae(vae), of_channels(latent.shape[1])
    target = f"the target is a latent of {whose_latent(latent) or 'no family that is known here'}"
    if stranger is not None:
        raise InputError(f"the VAE is that of {stranger}, {target}. Use {(wanted or WAN).vae}.")
    kind = "video" if getattr(vae, "latent_dim", 2) == 3 else "picture"
    if kind == "picture" or vae.latent_channels != latent.shape[1]:
        whose = f" (those of {own.name})" if own is not None else ""
        other = f", or an empty latent of the family of the VAE: {own.empty}" if own is not None else ""
        raise InputError(
            f"the VAE makes {kind} latents of {vae.latent_channels} channels{whose}, {target}, with {latent.shape[1]} channels. "
            f"Use {(wanted or WAN).vae}{other}."
        )
    ratio = vae.spacial_compression_encode()
    return latent.shape[-1] * ratio, latent.shape[-2] * ratio


def vae_factor(vae) -> int:
    """Pixel frames of a latent frame of a VAE, as ComfyUI knows it; Wan's where it does not say."""
    formula = getattr(vae, "downscale_index_formula", None)
    return FACTOR if formula is None else formula[0]


def encode_clip(vae, frames: Tensor) -> Tensor:
    """Encode n k + 1 frames [F, H, W, 3] as one clip: latents [1, C, k + 1, h, w], n the VAE's factor; the same frames only once.

    Raises:
        InputError: the number of frames is not n k + 1, or the VAE cannot encode.
    """
    check_length(frames.shape[0], factor=vae_factor(vae))
    family = of_vae(vae)
    return _latents.encode(vae, frames, family and family.encoder)


def encode_images(vae, pictures: list[Tensor], positions: list[int], mode: str) -> Tensor:
    """Encode pictures [H, W, 3], each on its own, for one latent position each.

    ``still`` encodes the picture alone, as the first latent of a clip; the decoder reads that at a later position as a group
    of frames that hardly move. ``causal`` encodes it as such a group behind a primer frame, which is what the causal VAE
    makes of every latent after the first. Position 0 is always still.

    Returns:
        Latents [1, C, n, h, w].

    Raises:
        InputError: an unknown mode.

    Source: ``still`` is the encoding of the official multi-frame pipelines.
    """
    if mode not in ENCODINGS:
        raise InputError(f"there is no encoding `{mode}`; use {' or '.join(ENCODINGS)}.")
    latents = []
    for picture, position in zip(pictures, positions):
        if mode == "still" or position == 0:
            latents.append(encode_clip(vae, picture[None]))
        else:
            latents.append(encode_clip(vae, picture.expand(1 + vae_factor(vae), *picture.shape))[:, :, 1:])
    return torch.cat(latents, dim=2)


def encode_tail(vae, frames: Tensor) -> Tensor:
    """Encode a clip of n k + 1 frames [F, H, W, 3] for the end of the target: latents [1, C, k, h, w].

    The first frame only primes the causal cache and is left out, so that every latent stands for n real frames and
    nothing of what lies before them in the target leaks in.

    Raises:
        InputError: fewer than n + 1 frames.
    """
    least = vae_factor(vae) + 1
    if frames.shape[0] < least:
        raise InputError(
            f"{frames.shape[0]} frame cannot be placed at the end as a clip: the first frame only primes the VAE. Use {least} "
            "or more frames, or Keyframes (Pusa) with position `last` for a single picture."
        )
    return encode_clip(vae, frames)[:, :, 1:]


def take_frames(video: Tensor, frames: int, take: str, factor: int = FACTOR) -> Tensor:
    """The first or last ``frames`` (n k + 1, with n the ``factor``) pictures of a video [F, H, W, C].

    Raises:
        InputError: the number is not n k + 1, or the video is shorter.
    """
    check_length(frames, factor=factor)
    if take not in ("start", "end"):
        raise InputError(f"`take` is `{take}`; use start or end.")
    if video.shape[0] < frames:
        longest = pixel_length((video.shape[0] - 1) // factor + 1, factor)
        advice = f"Use at most {longest}" if video.shape[0] else "Check where it is loaded"
        raise InputError(f"`frames` is {frames}, the video has only {video.shape[0]}. {advice}.")
    return video[:frames] if take == "start" else video[-frames:]


def _resize(images: Tensor, width: int, height: int, crop: str) -> Tensor:
    resized = comfy.utils.common_upscale(rearrange(images, "n h w c -> n c h w"), width, height, "lanczos", crop)
    return rearrange(resized, "n c h w -> n h w c")
