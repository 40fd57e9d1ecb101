"""Frames of a video at the rate of the model, or a picture, at the size to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...schedulers import InputError
from ...schedulers.frame_rate import Resampling

Sizes = Sequence[tuple[int, int]]  # (width, height) to choose from


@dataclass(frozen=True)
class Clip:
    """What was read.

    Attributes:
        pixels: [F, H, W, 3], 8-bit: a quarter of the memory that the frames of a network take.
        cut: share of the area of the pictures that was cut off, in [0, 1).
        rate: frames per second of the file, its mean; None for a picture, or where the file does not say.
    """

    pixels: Tensor
    cut: float
    rate: Fraction | None = None

    @property
    def frames(self) -> Tensor:
        """The same in [0, 1]."""
        return in_floats(self.pixels)


def in_floats(pixels: Tensor) -> Tensor:
    """8-bit pixels as numbers in [0, 1], float32."""
    return pixels.float() / 255


def read_clip(path: Path, frames: int, sizes: Sizes, fps: Fraction | None = None, start: int = 0) -> Clip:
    """Frames of a video, scaled to cover a size (Lanczos) and cut evenly around the centre.

    Args:
        frames: how many.
        sizes: of these the one that cuts off least is taken.
        fps: frames per second that the frames are taken at, each the nearest in time, by the mean rate of the file; None takes
            one frame after the other.
        start: first frame, counted in those frames.

    Raises:
        InputError: the file cannot be decoded, or is shorter.
    """
    found, cut, size = [], 0.0, None
    try:
        with av.open(str(path)) as container:
            rate = _rate(container.streams.video[0])
            taken = _places(rate, fps, start, frames)
            for number, frame in enumerate(container.decode(video=0)):
                if number != taken[len(found)]:
                    continue  # frames that are not taken are not scaled
                pixels = _upright(frame)
                size = size or nearest_size(pixels.shape[1], pixels.shape[0], sizes)
                cut = cut_share(pixels.shape[1], pixels.shape[0], size)
                picture = fitted(pixels, *size)
                while len(found) < frames and taken[len(found)] == number:
                    found.append(picture)  # more than once where the file is slower
                if len(found) == frames:
                    return Clip(torch.from_numpy(numpy.stack(found)), cut, rate)
    except (av.error.FFmpegError, OSError, LookupError, ValueError) as error:
        if not found:
            raise InputError(f"cannot be decoded ({error})") from error
        raise InputError(f"cannot be decoded beyond frame {len(found)} of {frames} ({error})") from error
    at = f" at {float(fps):g} per second" if fps and rate and fps != rate else ""
    behind = f" from frame {start} on" if start else ""
    raise InputError(f"has {len(found)} frames{at}{behind}, {frames} are needed" if found else "holds no video frames")


def length(path: Path, fps: Fraction | None) -> int:
    """Frames that a video has at a rate (its own if None), by its packets, without decoding.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = _rate(stream)
            count = sum(1 for packet in container.demux(stream) if packet.size)
    except (av.error.FFmpegError, OSError, LookupError, ValueError) as error:
        raise InputError(f"cannot be decoded ({error})") from error
    return count if fps is None or rate is None or not count else int((count - 1) / (rate / fps)) + 1


def nearest_size(width: int, height: int, sizes: Sizes) -> tuple[int, int]:
    """The size that least of a picture is cut off for; the larger one of two that are alike."""
    return min(sizes, key=lambda size: (round(cut_share(width, height, size), 4), -size[0] * size[1]))


def cut_share(width: int, height: int, size: tuple[int, int]) -> float:
    """Share of a picture's area that is cut off where it is scaled to cover a size."""
    shape, wanted = width / height, size[0] / size[1]
    return 1 - min(shape, wanted) / max(shape, wanted)


def _rate(stream) -> Fraction | None:
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate else None


def _places(rate: Fraction | None, fps: Fraction | None, start: int, frames: int) -> list[int]:
    """The frame of the file for each that is taken."""
    if fps is None or rate is None:
        return list(range(start, start + frames))
    steps = Resampling(rate, "nearest", fps)
    return [steps.steps_needed(step) for step in range(start, start + frames)]


def read_picture(path: Path, sizes: Sizes) -> Clip:
    """A picture as one frame, fitted like the frames of a video.

    Raises:
        InputError: the file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            pixels = numpy.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot be decoded ({error})") from error
    size = nearest_size(pixels.shape[1], pixels.shape[0], sizes)
    return Clip(torch.from_numpy(fitted(pixels, *size)[None].copy()), cut_share(pixels.shape[1], pixels.shape[0], size))


def _upright(frame: av.VideoFrame) -> numpy.ndarray:
    """Pixels [H, W, 3] of a frame, turned the way a player shows it."""
    pixels = frame.to_ndarray(format="rgb24")
    return numpy.rot90(pixels, k=round(getattr(frame, "rotation", 0) / 90))


def fitted(pixels: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    """8-bit pixels [H, W, 3] cut evenly to the shape of a size and scaled to it (Lanczos).

    To the bit what Keyframes (Pusa) makes with `crop`, which goes by way of 8 bits too, but without the floats.
    """
    found_height, found_width, _ = pixels.shape
    if (found_width, found_height) == (width, height):
        return pixels
    shape, wanted = found_width / found_height, width / height
    left = round((found_width - found_width * (wanted / shape)) / 2) if shape > wanted else 0
    top = round((found_height - found_height * (shape / wanted)) / 2) if shape < wanted else 0
    cut = numpy.ascontiguousarray(pixels[top : found_height - top, left : found_width - left])
    return numpy.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.LANCZOS))
