"""A clip as frames that come in parts, with its rate and its sound, and what is caught of it while it passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..schedulers import InputError
from .encode import fit_images


@dataclass(frozen=True)
class Clip:
    """Frames with a rate and, perhaps, sound.

    Attributes:
        parts: gives the frames from the start on, in parts [n, H, W, 3] in [0, 1].
        length: number of frames; 0 if it is not known before all are read.
        height, width: pixels.
        rate: frames per second.
        audio: ComfyUI's AUDIO (waveform [1, channels, samples], sample_rate) from the first frame on, or None.
    """

    parts: Callable[[], Iterator[Tensor]]
    length: int
    height: int
    width: int
    rate: Fraction
    audio: dict[str, Any] | None = None

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
        self._frames = torch.empty(0)

    def watch(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass the parts of a clip on."""
        for part in parts:
            if len(self._frames) < self.count or self.end == "end":
                known = torch.cat([self._frames, part]) if len(self._frames) else part
                self._frames = (known[: self.count] if self.end == "start" else known[-self.count :]).clone()
            yield part

    def look(self, parts: Iterable[Tensor]) -> None:
        """Read the start of a clip, no further than needed."""
        for _ in self.watch(parts):
            if len(self._frames) == self.count:
                return

    def inwards(self) -> Tensor:
        """The frames [count, H, W, 3] from the outermost one inwards.

        Raises:
            InputError: the clip had fewer.
        """
        if len(self._frames) < self.count:
            raise InputError(
                f"the clip has {len(self._frames)} frame{'s' * (len(self._frames) != 1)}, but {self.count} are needed for this "
                "`overlap`. Choose a smaller one, such as 1 or 5, or a longer clip."
            )
        return self._frames if self.end == "start" else self._frames.flip(0)


def image_clip(images: Tensor, rate: float) -> Clip:
    """A clip from an IMAGE [N, H, W, 3] in [0, 1].

    Raises:
        InputError: no frames, an alpha channel, or values that are not finite.
    """
    if images.ndim != 4 or not images.shape[0]:
        raise InputError(f"the clip has the shape {tuple(images.shape)}; frames [1 or more, height, width, 3] are needed.")
    length, height, width, _ = images.shape
    fit_images(images[:1], width, height, "crop")
    return Clip(lambda: iter([images]), length, height, width, Fraction(rate).limit_denominator(1001))


def placed_sound(sounds: list[tuple[dict[str, Any], float]], seconds: float) -> dict[str, Any]:
    """AUDIO of a length in seconds: silence, with sounds laid in from given seconds on.

    The first sound's sample rate holds for all, and so does the greatest number of channels.
    """
    rate = sounds[0][0]["sample_rate"]
    channels = max(audio["waveform"].shape[1] for audio, _ in sounds)
    whole = torch.zeros(1, channels, round(seconds * rate))
    for audio, start in sounds:
        waveform = audio["waveform"][:1]
        if audio["sample_rate"] != rate:
            import torchaudio

            waveform = torchaudio.functional.resample(waveform, audio["sample_rate"], rate)
        place = whole[..., round(start * rate) :][..., : waveform.shape[-1]]
        place += waveform[..., : place.shape[-1]]
    return {"waveform": whole, "sample_rate": rate}
