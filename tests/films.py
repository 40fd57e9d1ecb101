"""Pictures and films for the server's input folder."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def gradient(shift: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A picture [H, W, 3] whose gradient moves with ``shift``."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 3 + shift * 8) % 256, (y * 3) % 256, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def write_film(path: Path, frames: int, rate: int = 16, sound: int = 0) -> None:
    """A film of a moving gradient, 64 x 64, with a stereo tone of as many samples a second if ``sound`` is not 0."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=sound, layout="stereo") if sound else None
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(index), format="rgb24")))
        container.mux(stream.encode())
        if sound:
            wave = np.sin(np.arange(sound * frames // rate) * 0.1).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            tone.sample_rate, tone.pts = sound, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode())
