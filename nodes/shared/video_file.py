"""A video file read from its first packet to its last: pictures, a few at a time, their times, and sound."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import av
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ...schedulers import InputError

PART = 8  # frames that are decoded at a time (fewer of large ones), and those that the decoder gives with the last of them
PIXELS = 2**25  # of a part, at 12 bytes each; a part has one frame or more
UNEVEN = 1.5  # ratio of the longest to the shortest frame from which a rate counts as variable
PAUSE = 0.1  # seconds without sound from which it counts as a pause, and not as an inexact clock


@dataclass(frozen=True)
class Film:
    """An open file, at the start of its trim.

    Attributes:
        start, duration: the trim in seconds; a duration of 0 goes to the end of the file.
    """

    container: av.container.InputContainer
    pictures: av.VideoStream
    start: float
    duration: float

    @property
    def until(self) -> float:
        """End of the trim in seconds, or infinity."""
        return self.start + self.duration if self.duration else math.inf

    @property
    def first(self) -> int:
        """Start of the trim in ticks of the pictures' clock."""
        return int(self.start / self.pictures.time_base)

    @property
    def end(self) -> float:
        """End of the trim in ticks, or infinity."""
        return int(self.until / self.pictures.time_base) if self.duration else math.inf


@dataclass(frozen=True)
class Part:
    """Frames that follow one another.

    Attributes:
        images: [n, H, W, 3] in [0, 1].
        start: time of the first of them in the file, seconds.
        rate: average frames per second of the file; 1 where it tells none.
        alpha: whether the file has an alpha channel too.
    """

    images: Tensor
    start: float
    rate: Fraction
    alpha: bool


@contextmanager
def opened(video: Input.Video) -> Iterator[Film]:
    """Open the file of a VIDEO.

    Raises:
        InputError: it is no video, or cannot be read; here or later, while it is open.
    """
    try:
        source, (start, duration) = video.get_stream_source(), _trim(video)
        if isinstance(source, io.BytesIO):
            source = io.BytesIO(source.getvalue())  # its own place in the same bytes
        with av.open(source, metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError("the file has no pictures.")
            pictures = container.streams.video[0]
            if pictures.codec_context is None:
                raise InputError("the pictures of the file are coded in a way that is not known here. Convert it to MP4.")
            film = Film(container, pictures, start, duration)
            if film.first:
                container.seek(film.first, stream=pictures)
            yield film
    except av.FFmpegError as error:
        raise InputError(f"the video file cannot be read ({error.strerror}).") from error
    except IndexError as error:  # PyAV's, at a packet of a stream that it has not seen
        raise InputError("the video file has a stream that begins in its middle. Convert it to MP4.") from error


def _trim(video: Input.Video) -> tuple[float, float]:
    """Start and duration in seconds; a start counted from the end needs the length of the file."""
    try:
        return video.get_active_trim_window()
    except ValueError as error:
        raise InputError("the length of the video file cannot be told, so it cannot be cut from its end.") from error


def packet_times(film: Film) -> list[int | None]:
    """Times of the coded frames within the trim, in ticks and in order of coding; None where a frame has none."""
    times = []
    for packet in film.container.demux(film.pictures):
        throw_exception_if_processing_interrupted()
        if packet.size and (packet.pts is None or film.first <= packet.pts < film.end):
            times.append(packet.pts)
        if packet.dts is not None and packet.dts >= film.end:
            break
    return times


def uneven(times: list[int | None]) -> bool:
    """Whether frames are shown for times that differ by more than a tick, which is rounding. Not known without all times."""
    if None in times:
        return False
    times = sorted(times)
    steps = [later - earlier for earlier, later in zip(times, times[1:])]
    return bool(steps) and max(steps) > max(UNEVEN * min(steps), min(steps) + 1)


def file_parts(video: Input.Video) -> Iterator[Part]:
    """The frames of a file, bit for bit those of its ``get_components``, which holds all of them.

    Raises:
        InputError: see ``opened``; frames without times or of several sizes.
    """
    with opened(video) as film:
        reader, passing = InputImpl.VideoFromFile("", start_time=film.start, duration=film.duration), _Passing(film)
        while not passing.ended:
            made: Types.VideoComponents = reader.get_components_internal(passing)
            if passing.times:
                yield Part(made.images[passing.lead :], passing.times[0], Fraction(made.frame_rate), made.alpha is not None)


class _Passing:
    """What ComfyUI's reader takes for a container: packets of a file until a part is decoded, and the next time those that follow.

    No frame is held for longer than the reader itself would: damaged frames show what is left in memory that the decoder uses
    again, and would show something else.

    Attributes:
        times: of the frames of the part, seconds.
        lead: blank frames in front of them: the reader treats all frames like the first that it sees, so where the format
            changed since, it sees one of the format that the first frame of the file had.
        ended: whether no frames follow.
    """

    metadata: dict[str, str] = {}

    def __init__(self, film: Film):
        self.streams = SimpleNamespace(video=[film.pictures], audio=[])
        self.times: list[float] = []
        self.lead, self.ended = 0, False
        self._film, self._packets = film, film.container.demux(film.pictures)
        self._first: tuple[str, int, int] | None = None  # format, width and height of the first frame of the file
        self._room = PART
        self._last: list[av.VideoFrame] = []

    def seek(self, *args, **kwargs) -> None:
        """The file is at its place."""

    def demux(self, *streams) -> Iterator[SimpleNamespace]:
        self.times, self.lead = [], 0
        for packet in self._packets:
            throw_exception_if_processing_interrupted()
            yield SimpleNamespace(stream=packet.stream, decode=partial(self._decode, packet))
            if self.ended or len(self.times) >= self._room:
                return
        self.ended = True

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        frames, film = packet.decode(), self._film
        self._last = frames[-1:] or self._last
        if any(frame.pts is None for frame in frames):
            raise InputError("the frames of the video file have no times, as in a raw stream. Put it into an MP4 first.")
        self.ended = any(frame.pts >= film.end for frame in frames)
        kept = [frame for frame in frames if film.first <= frame.pts < film.end]
        if not kept:
            return frames
        self._first = self._first or (kept[0].format.name, kept[0].width, kept[0].height)
        name, width, height = self._first
        self._room = max(1, min(PART, PIXELS // (width * height)))
        if any((frame.width, frame.height) != (width, height) for frame in kept):
            raise InputError("the pictures of the video file change their size on the way. Cut or convert it.")
        if not self.times and kept[0].format.name != name:
            blank = av.VideoFrame(width, height, name)
            blank.pts, self.lead = film.first, 1
            frames.insert(0, blank)
        self.times += [frame.time for frame in kept]
        return frames


def file_sounds(video: Input.Video, start: float) -> list[tuple[dict[str, Any], float]]:
    """The sound of a file: that of its last stream that can be decoded, cut at its pauses.

    Args:
        start: time of the first frame in the file, seconds; what is heard earlier is left out.

    Returns:
        ComfyUI's AUDIO and the seconds from the first frame at which it begins, for each piece.

    Raises:
        InputError: see ``opened``; sound that changes its rate or channels.
    """
    with opened(video) as film:
        stream = next((each for each in reversed(film.container.streams.audio) if each.codec_context is not None), None)
        if stream is None:
            return []
        pieces, heard = [], -math.inf
        for frame in _heard(film, stream):
            begin = max(heard, 0.0) if frame.time is None else frame.time
            if begin >= film.until:
                break
            if begin > heard + PAUSE:
                pieces.append((begin, frame.sample_rate, []))
            pieces[-1][-1].append(torch.from_numpy(frame.to_ndarray()))
            heard = begin + frame.samples / frame.sample_rate
    sounds = []
    for begin, rate, parts in pieces:
        early = round(max(start - begin, 0.0) * rate)
        late = round((film.until - begin) * rate) if film.until < math.inf else None
        waveform = torch.cat(parts, dim=1)[None, :, early:late]
        if waveform.shape[-1]:
            sounds.append(({"waveform": waveform, "sample_rate": rate}, max(begin - start, 0.0)))
    return sounds


def _heard(film: Film, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """The sound of a stream in floats, without what is damaged."""
    resampler = av.AudioResampler(format="fltp")
    for packet in film.container.demux(stream):
        throw_exception_if_processing_interrupted()
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            try:
                yield from resampler.resample(frame)
            except ValueError as error:
                raise InputError("the sound of the video file changes its rate or channels on the way. Convert it.") from error
