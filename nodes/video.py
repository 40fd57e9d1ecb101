"""VIDEO values to clips and back: frames in parts, frame rate and sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import torch
from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ..pusa_model.clip import Clip, image_clip, placed_sound
from ..schedulers import InputError

SECONDS = 4  # of a file that are decoded at a time, when it is not read into memory
UNEVEN = 1.5  # ratio of the longest to the shortest frame from which a rate counts as variable


def video_clip(video: Input.Video, frames_in: str, warn: Callable[[str], None]) -> Clip:
    """A clip from a VIDEO. With ``frames_in`` disk a file is decoded a few seconds at a time, by ComfyUI's own reader.

    Args:
        warn: told what is left out, and of a rate that is not even.

    Raises:
        InputError: there are no frames.
    """
    from_file = isinstance(video, InputImpl.VideoFromFile)
    if from_file and uneven(video):
        warn(
            "the clip has a variable frame rate. Its frames are kept and shown evenly at the average rate, so sound may drift; "
            "convert the file to a constant rate to avoid that."
        )
    in_parts = from_file and frames_in == "disk"
    first = next(file_parts(video), None) if in_parts else video.get_components()
    if first is None or not len(first.images):
        raise InputError("the video has no frames.")
    if getattr(first, "alpha", None) is not None:
        warn("the alpha channel of the clip is left out.")
    clip = replace(image_clip(first.images, 1), rate=Fraction(first.frame_rate))
    if in_parts:
        return replace(clip, parts=lambda: (part.images for part in file_parts(video)), length=0, audio=file_audio(video))
    return replace(clip, audio=first.audio)


def file_parts(video: Input.Video) -> Iterator[Types.VideoComponents]:
    """A video file, a few seconds at a time."""
    source, (start, duration) = video.get_stream_source(), video.get_active_trim_window()
    end = start + duration if duration else start + video.get_duration() + SECONDS
    while start < end:
        part = InputImpl.VideoFromFile(source, start_time=start, duration=min(SECONDS, end - start)).get_components()
        if len(part.images):
            yield part
        start += SECONDS


def file_audio(video: Input.Video) -> dict[str, Any] | None:
    """The sound of a video file as ComfyUI's AUDIO: its last stream that can be decoded, from the trimmed start on."""
    start, duration = video.get_active_trim_window()
    with av.open(video.get_stream_source()) as container:
        stream = next((each for each in reversed(container.streams.audio) if each.codec_context is not None), None)
        if stream is None:
            return None
        resampler = av.audio.resampler.AudioResampler(format="fltp")
        frames = [frame for packet in container.demux(stream) for got in packet.decode() for frame in resampler.resample(got)]
        if not frames:
            return None
        rate, begin = stream.sample_rate, frames[0].pts * stream.time_base
        waveform = torch.cat([torch.from_numpy(frame.to_ndarray()) for frame in frames], dim=1)
    first = max(0, int((start - begin) * rate))
    last = first + int(duration * rate) if duration else None
    return {"waveform": waveform[None, :, first:last], "sample_rate": rate}


def uneven(video: Input.Video) -> bool:
    """Whether the frames of a file are shown for times that differ."""
    with av.open(video.get_stream_source()) as container:
        if not container.streams.video:
            return False
        times = sorted(packet.pts for packet in container.demux(container.streams.video[0]) if packet.pts is not None)
    steps = [later - earlier for earlier, later in zip(times, times[1:])]
    return bool(steps) and max(steps) > UNEVEN * max(1, min(steps))


def joined_video(frames: Tensor, clip: Clip, before: int = 0, second: Clip | None = None) -> Input.Video:
    """A VIDEO of joined frames at the rate of a clip, with sound in its place and silence elsewhere.

    Args:
        frames: all frames [N, H, W, 3].
        before: new frames before the first of the clip.
        second: a clip that ends where the frames end; its sound goes to where it begins.
    """
    placed = [(clip.audio, before)]
    if second is not None and second.audio is not None:
        length = second.length or sum(map(len, second.parts()))
        placed.append((second.audio, len(frames) - length))
    sounds = [(audio, float(first / clip.rate)) for audio, first in placed if audio is not None]
    audio = placed_sound(sounds, float(len(frames) / clip.rate)) if sounds else None
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=frames, audio=audio, frame_rate=clip.rate))
