"""Pictures, clips and latents placed on the timeline of a target latent: what the condition nodes do."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...schedulers import InputError, latent_frame, latent_length, parse_positions, pixel_length
from ..condition import Condition
from . import encode
from .multipliers import condition_multipliers


def start(latent: Tensor, condition: Condition | None) -> Condition:
    """The condition to grow: the one given, or an empty one for the target latent [B, C, T, h, w].

    Raises:
        InputError: the latent is not that of a video, or the condition was made for another one.
    """
    if condition is None:
        return Condition.empty(latent)
    condition.check_target(latent)
    return condition


def keyframes(
    vae,
    latent: Tensor,
    images: Mapping[str, Tensor],
    positions: str,
    unit: str,
    noise: str,
    fit: str,
    mode: str,
    condition: Condition | None = None,
    multipliers=None,
    renoise: int = 0,
) -> Condition:
    """Encode pictures, each on its own, and place them.

    Args:
        latent: the target [B, C, T, h, w]; only its shape counts.
        images: batches of pictures [n, H, W, 3] in [0, 1]; together they take the positions in order.
        positions: grammar text for pixel frames (``unit`` frame) or latent frames (``unit`` latent).
        noise: grammar text of the multipliers.
        fit: see ``encode.fit_images``.
        mode: ``still`` or ``causal``, see ``encode.encode_images``.
        condition: frames placed before.
        multipliers: what takes the place of ``noise``, see ``multipliers.condition_multipliers``; so in all functions here.
        renoise: rows in which the frames are shown with fresh noise, see ``paths/renoise.py``; so in all functions here.

    Raises:
        InputError: texts, pictures or places that cannot be used; told before anything is encoded.

    Source: the multi-frame pipelines of Pusa V1.0, which know latent positions only.
    """
    condition = start(latent, condition)
    length, factor = condition.target[1], condition.factor
    what = f"The latent has {length} frames ({pixel_length(length, factor)} pixel frames)"
    if unit == "frame":
        asked = parse_positions(positions, pixel_length(length, factor), what)
        places = [latent_frame(frame, factor) for frame in asked]
    elif unit == "latent":
        places = parse_positions(positions, length, what)
    else:
        raise InputError(f"there is no unit `{unit}`; use frame or latent.")
    levels = condition_multipliers(noise, multipliers, len(places))
    condition.check_places(places, levels)
    width, height = encode.target_size(vae, latent)
    pictures = [picture for batch in images.values() for picture in encode.fit_images(batch, width, height, fit)]
    if len(pictures) != len(places):
        raise InputError(f"`positions` names {len(places)} frames for {len(pictures)} pictures; give one for each.")
    return condition.add(encode.encode_images(vae, pictures, places, mode), places, levels, renoise)


def video_frames(
    vae,
    latent: Tensor,
    video: Tensor,
    take: str,
    frames: int,
    place: str,
    noise: str,
    fit: str,
    condition: Condition | None = None,
    multipliers=None,
    renoise: int = 0,
) -> Condition:
    """Encode the start or the end of a clip and place it at the start or the end of the target.

    A clip of 4k + 1 frames becomes k + 1 latents at the start. At the end it becomes k latents: its first frame only
    primes the causal VAE, see ``encode.encode_tail``.

    Args:
        video: frames [F, H, W, 3] in [0, 1].
        take: ``start`` or ``end`` of the clip.
        frames: how many frames to take, 4k + 1 (4 is Wan's factor, the latent's family has its own).
        place: ``start`` or ``end`` of the target.

    Raises:
        InputError: texts, clips or places that cannot be used; told before anything is encoded.

    Source: the video-to-video pipeline of Pusa V1.0 (extension, completion, transition), which needs one clip of 81 frames.
    """
    condition = start(latent, condition)
    length, factor = condition.target[1], condition.factor
    clip = encode.take_frames(video, frames, take, factor)
    if place not in ("start", "end"):
        raise InputError(f"there is no place `{place}`; use start or end.")
    count = latent_length(frames, factor) - (place == "end")
    if count > length:
        raise InputError(
            f"{frames} frames of the clip are {count} latent frames, the target has {length}. Use at most "
            f"{pixel_length(length, factor)} frames, or a longer latent."
        )
    places = range(count) if place == "start" else range(length - count, length)
    return _clip(vae, latent, clip, places, place == "end", noise, fit, condition, multipliers, renoise)


def clip_frames(
    vae, latent: Tensor, video: Tensor, latents: range, noise: str, fit: str, condition: Condition | None = None, renoise: int = 0
) -> Condition:
    """Encode a clip and place it anywhere: what ``video_frames`` does at both ends.

    Args:
        video: frames [F, H, W, 3] in [0, 1]: those of the latent frames, and one more in front that primes the VAE where
            they do not begin at 0.
        latents: the latent frames that it takes.

    Raises:
        InputError: another number of frames; texts, clips or places that cannot be used.
    """
    condition = start(latent, condition)
    primed = latents.start > 0
    needed = pixel_length(len(latents) + primed, condition.factor)
    if len(video) != needed:
        raise InputError(f"the clip has {len(video)} frames for {len(latents)} latent frames; {needed} are needed.")
    return _clip(vae, latent, video, latents, primed, noise, fit, condition, None, renoise)


def _clip(vae, latent, clip, places: range, primed: bool, noise, fit, condition: Condition, multipliers, renoise) -> Condition:
    """Fit, encode and place a whole clip; where it is primed, the latent of its first frame is left out."""
    levels = condition_multipliers(noise, multipliers, len(places)) if places else []
    condition.check_places(places, levels)
    width, height = encode.target_size(vae, latent)
    clip = encode.fit_images(clip, width, height, fit)
    latents = encode.encode_tail(vae, clip) if primed else encode.encode_clip(vae, clip)
    return condition.add(latents, places, levels, renoise)


def latent_frames(
    latent: Tensor,
    frames: Tensor,
    positions: str,
    noise: str,
    condition: Condition | None = None,
    multipliers=None,
    renoise: int = 0,
) -> Condition:
    """Place latent frames [B or 1, C, n, h, w] of a LATENT at n latent positions of the target.

    Of a whole clip, as long as the target, the frames that lie at the positions are taken.

    Raises:
        InputError: texts, latents or places that cannot be used.
    """
    condition = start(latent, condition)
    length = condition.target[1]
    places = parse_positions(positions, length, f"The latent has {length} frames")
    if frames.ndim == 5 and frames.shape[2] == length != len(places):
        frames = frames[:, :, places]
    return condition.add(frames, places, condition_multipliers(noise, multipliers, len(places)), renoise)
