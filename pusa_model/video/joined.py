"""A video that was put together, and what every way of joining is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...schedulers import InputError
from .clip import Clip


@dataclass(frozen=True)
class Joined:
    """A video of given and new frames.

    Attributes:
        frames: all of them, [N, H, W, 3] in [0, 1].
        new_frames: those that are new, a part of ``frames``.
        overlap: the given frames of the first window as the model drew them, before colours were matched.
        before: new frames that lie before the given ones.
        arrival: frames that lie before those of a second clip.
    """

    frames: Tensor
    new_frames: Tensor
    overlap: Tensor
    before: int = 0
    arrival: int = 0


def check_ends(overlap: int, cross_fade: int, color_match: float, resample: str, least: int) -> None:
    """Refuse values that no join can have.

    Raises:
        InputError: names the input, its value and what is allowed.
    """
    if overlap < least:
        raise InputError(
            f"`overlap` is {overlap}; before a clip {least} or more frames are needed, the first of which only prepares the VAE."
        )
    if not 0 <= cross_fade <= overlap:
        raise InputError(f"`cross_fade` is {cross_fade}; it takes 0 to `overlap` ({overlap}) frames.")
    if cross_fade and resample != "keep":
        raise InputError("`cross_fade` needs `resample` keep; a frame of one rate cannot fade into one of another.")
    if not 0 <= color_match <= 1:
        raise InputError(f"`color_match` is {color_match:g}; it must be from 0 to 1.")


def check_added(count: int, clip: Clip) -> None:
    """Refuse new frames of the model that last less than one of a slower clip.

    Raises:
        InputError: there are none.
    """
    if not count:
        raise InputError(
            f"`new_frames` last less than one frame of a clip of {float(clip.rate):g} frames per second. Raise it, or set "
            "`resample` to keep."
        )
