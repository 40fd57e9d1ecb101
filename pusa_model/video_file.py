"""A video file read from its first packet to its last: pictures, a few at a time, their times, and sound."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ..schedulers import InputError

PART = 8  # frames that are decoded at a time
UNEVEN = 1.5  # ratio of the longest to the shortest frame from which a rate counts as variable
PAUSE = 0.1  # seconds without sound from which it counts as a pause, and not as an inexact clock


@dataclass(frozen=True)
class Film:
    """An open file, at the start of its trim.

    Attributes:
        first, end: times that the trim begins and ends at, in ticks of ``pictures.time_base``; ``end`` is infinite without one.
        until: ``end`` in seconds.
    """

    container: av.container.InputContainer
    pictures: av.VideoStream
    first: int
    end: float
    until: float


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
    source, (start, duration) = video.get_stream_source(), video.get_active_trim_window()
    if isinstance(source, io.BytesIO):
        source = io.BytesIO(source.getvalue())  # its own place in the same bytes
    try:
        with av.open(source) as container:
            if not container.streams.video:
                raise InputError("the file has no pictures.")
            pictures = container.streams.video[0]
            if pictures.codec_context is None:
                raise InputError("the pictures of the file are coded in a way that is not known here. Convert it to MP4.")
            first, until = int(start / pictures.time_base), start + duration if duration else math.inf
            if first:
                container.seek(first, stream=pictures)
            yield Film(container, pictures, first, int(until / pictures.time_base) if duration else math.inf, until)
    except av.FFmpegError as error:
        raise InputError(f"the video file cannot be read ({error.strerror}).") from error


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
        InputError: see ``opened``; frames without times.
    """
    with opened(video) as film:
        first, some = None, []
        for frame in _decoded(film):
            first = first or frame
            some.append(frame)
            if len(some) == PART:
                yield _part(film, first, some)
                some = []
        if some:
            yield _part(film, first, some)


def _decoded(film: Film) -> Iterator[av.VideoFrame]:
    """The frames within the trim, without those that are damaged."""
    for packet in film.container.demux(film.pictures):
        throw_exception_if_processing_interrupted()
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is None:
                raise InputError("the frames of the video file have no times, as in a raw stream. Put it into an MP4 first.")
            if frame.pts >= film.end:
                return
            if frame.pts >= film.first:
                yield frame


def _part(film: Film, first: av.VideoFrame, frames: list[av.VideoFrame]) -> Part:
    """Decoded frames through ComfyUI's own reader, which treats all like the first frame of the file."""
    lead = [first] if frames[0].format.name != first.format.name else []
    packet = SimpleNamespace(stream=film.pictures, decode=lambda: lead + frames)
    streams = SimpleNamespace(video=[film.pictures], audio=[])
    decoded = SimpleNamespace(streams=streams, metadata={}, demux=lambda *streams: [packet])
    try:
        made: Types.VideoComponents = InputImpl.VideoFromFile("").get_components_internal(decoded)
    except RuntimeError as error:
        raise InputError("the pictures of the video file change their size on the way. Cut or convert it.") from error
    return Part(made.images[len(lead) :], float(frames[0].time), Fraction(made.frame_rate), made.alpha is not None)


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
