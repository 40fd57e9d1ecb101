"""A clip as frames that come in parts, with its rate and its sound, and what is caught of it while it passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ...schedulers import InputError

PART = 16  # frames of an IMAGE that are passed on at a time


@dataclass(frozen=True)
class Clip:
    """Frames with a rate and, perhaps, sound.

    Attributes:
        parts: gives the frames from the start on, in parts [n, H, W, 3] of finite float32 in [0, 1].
        length: number of frames; 0 if it is not known before all are read.
        height, width: pixels.
        rate: frames per second.
        sounds: pieces of sound, each ComfyUI's AUDIO (waveform [1, channels, samples], sample_rate) and the seconds from the
            first frame at which it begins, 0 or more.
    """

    parts: Callable[[], Iterator[Tensor]]
    length: int
    height: int
    width: int
    rate: Fraction
    sounds: tuple[tuple[dict[str, Any], float], ...] = ()

    def __str__(self) -> str:
        return f"{self.width} x {self.height} pixels at {float(self.rate):g} frames per second"


class Edge:
    """The frames at one end of a clip, caught while they pass.

    Args:
        end: ``start`` or ``end``.
        count: frames to keep.
    """

    def __init__(self, end: str, count: int):
        self.end, self.count = end, count
        self._parts: list[Tensor] = []
        self._length = 0

    def watch(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass the parts of a clip on."""
        for part in parts:
            if self.end == "start":
                self._keep(part[: self.count - self._length])
            else:
                self._keep(part[-self.count :])
                while self._length - len(self._parts[0]) >= self.count:
                    self._length -= len(self._parts.pop(0))
            yield part

    def _keep(self, part: Tensor) -> None:
        if len(part):
            self._parts.append(part)
            self._length += len(part)

    def inwards(self) -> Tensor:
        """The frames [count, H, W, 3] from the outermost one inwards.

        Raises:
            InputError: the clip had fewer.
        """
        if self._length < self.count:
            raise InputError(
                f"the clip has {self._length} frame{'s' * (self._length != 1)}, but {self.count} are needed for this "
                "`overlap`. Choose a smaller one, such as 1 or 5, or a longer clip."
            )
        frames = torch.cat(self._parts)
        return frames[: self.count] if self.end == "start" else frames[-self.count :].flip(0)


def image_clip(images: Tensor, rate: float, name: str = "video") -> Clip:
    """A clip from an IMAGE [N, H, W, 3] in [0, 1], of any floating type.

    Args:
        name: of the input, for errors.

    Raises:
        InputError: no frames, an alpha channel, a rate that is not above 0. While frames are read: see ``checked``.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or not images.numel():
        raise InputError(
            f"`{name}` has the shape {tuple(images.shape)}; RGB frames [1 or more, height, width, 3] are needed. "
            "Remove an alpha channel with Split Image with Alpha."
        )
    length, height, width, _ = images.shape
    return Clip(lambda: checked(images.split(PART), name), length, height, width, clip_rate(rate).limit_denominator(1001))


def clip_rate(rate: float | Fraction) -> Fraction:
    """Frames per second as a fraction.

    Raises:
        InputError: it is not a number above 0.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"the frame rate is {float(rate):g}; it must be a number above 0.")
    return Fraction(rate)


def checked(parts: Iterable[Tensor], name: str) -> Iterator[Tensor]:
    """The same parts as float32 in the memory of the processor.

    Raises:
        InputError: a frame holds values that are not finite.
    """
    number = 0
    for part in parts:
        part = part.to("cpu", torch.float32)
        for frame in part:
            if not torch.stack(torch.aminmax(frame)).isfinite().all():
                raise InputError(f"`{name}`: frame {number} holds values that are not finite (NaN or infinity).")
            number += 1
        yield part


def placed_sound(sounds: list[tuple[dict[str, Any], float]], seconds: float) -> dict[str, Any]:
    """AUDIO of a length in seconds: silence, with sounds laid in from given seconds on.

    The first sound's sample rate holds for all, and so does the greatest number of channels.
    """
    rate = sounds[0][0]["sample_rate"]
    channels = max(audio["waveform"].shape[1] for audio, _ in sounds)
    whole = torch.zeros(1, channels, round(seconds * rate))
    for audio, start in sounds:
        waveform = audio["waveform"][:1].to("cpu", torch.float32)
        if audio["sample_rate"] != rate:
            import torchaudio

            waveform = torchaudio.functional.resample(waveform, audio["sample_rate"], rate)
        place = whole[..., round(start * rate) :][..., : waveform.shape[-1]]
        place += waveform[..., : place.shape[-1]]
    return {"waveform": whole, "sample_rate": rate}
