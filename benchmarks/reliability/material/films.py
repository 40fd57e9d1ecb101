"""Pictures and clips for the input folder, in the containers that ComfyUI reads."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy
from PIL import Image

CONTAINERS = {  # suffix: (codec, pixel format)
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("libx264", "yuv420p"),
    ".mkv": ("libx264", "yuv420p"),
    ".ts": ("mpeg2video", "yuv420p"),
    ".avi": ("mpeg4", "yuv420p"),
    ".webm": ("libvpx-vp9", "yuv420p"),
    ".gif": ("gif", "rgb8"),
}
SOUND = 16000  # samples a second


def gradient(shift: int, width: int = 32, height: int = 32) -> numpy.ndarray:
    """A picture [H, W, 3] whose gradient moves with ``shift``."""
    y, x = numpy.mgrid[0:height, 0:width]
    return numpy.stack([(x * 6 + shift * 8) % 256, (y * 6) % 256, numpy.full_like(x, 128)], axis=-1).astype(numpy.uint8)


def write_film(path: Path, frames: int, rate: int = 16, size: tuple[int, int] = (32, 32), sound: bool = False) -> None:
    """A film of a moving gradient of (width, height), with a tone if asked for."""
    codec, pixels = CONTAINERS[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        audio = container.add_stream("aac", rate=SOUND, layout="mono") if sound else None
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(index, *size), format="rgb24").reformat(format=pixels)))
        container.mux(stream.encode())
        if audio is not None:
            wave = numpy.sin(numpy.arange(SOUND * frames // rate) * 0.1).astype(numpy.float32)
            tone = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            tone.sample_rate, tone.pts = SOUND, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode())


def write_inputs(folder: Path) -> None:
    """The pictures and clips that the graphs name."""
    for index, size in enumerate(((32, 32), (48, 40), (17, 33))):
        Image.fromarray(gradient(10 * index, *size)).save(folder / f"picture_{index}.png")
    write_film(folder / "clip.mp4", 20)
    write_film(folder / "sounding.mp4", 20, 24, sound=True)
    write_film(folder / "short.mp4", 3)
