"""The first frames of a video, or a picture, at the size to train on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...pusa_model.timeline.encode import fit_images
from ...schedulers import InputError


def read_clip(path: Path, frames: int, width: int, height: int) -> Tensor:
    """Frames 0 to ``frames`` - 1 of a video, scaled to cover the size (Lanczos) and cut evenly around the centre.

    Returns:
        Frames [frames, height, width, 3] in [0, 1].

    Raises:
        InputError: the file cannot be decoded, or is shorter.
    """
    found = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                found.append(_fitted(_upright(frame), width, height))
                if len(found) == frames:
                    return torch.cat(found)
    except (av.error.FFmpegError, OSError, LookupError, ValueError) as error:
        if not found:
            raise InputError(f"cannot be decoded ({error})") from error
        raise InputError(f"cannot be decoded beyond frame {len(found)} of {frames} ({error})") from error
    raise InputError(f"has {len(found)} frames, {frames} are needed" if found else "holds no video frames")


def read_picture(path: Path, width: int, height: int) -> Tensor:
    """A picture as one frame [1, height, width, 3] in [0, 1], fitted like the frames of a video.

    Raises:
        InputError: the file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return _fitted(numpy.array(ImageOps.exif_transpose(image).convert("RGB")), width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot be decoded ({error})") from error


def _upright(frame: av.VideoFrame) -> numpy.ndarray:
    """Pixels [H, W, 3] of a frame, turned the way a player shows it."""
    pixels = frame.to_ndarray(format="rgb24")
    return numpy.rot90(pixels, k=round(getattr(frame, "rotation", 0) / 90))


def _fitted(pixels: numpy.ndarray, width: int, height: int) -> Tensor:
    return fit_images(torch.from_numpy(pixels.copy())[None].float() / 255, width, height, "crop")
