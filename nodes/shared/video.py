"""VIDEO values to clips and back: frames, frame rate and sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from comfy_api.latest import Input, InputImpl, Types

from ...pusa_model.video.clip import Clip, checked, clip_rate, image_clip, placed_sound
from ...pusa_model.video.frames import check_memory
from ...pusa_model.video.joined import Joined
from ...schedulers import InputError
from .video_file import file_parts, file_sounds, opened, packet_times, uneven

ALPHA = "the alpha channel of the clip is left out."


def video_clip(video: Input.Video, frames_in: str, warn: Callable[[str], None], name: str = "video") -> Clip:
    """A clip from a VIDEO. A file is read here, with ``frames_in`` disk as often as its frames are asked for.

    Args:
        warn: told what is left out, and of a rate that is not even.
        name: of the input, for errors.

    Raises:
        InputError: there are no frames, they cannot be read, or they do not fit in memory.
    """
    if type(video) is InputImpl.VideoFromFile:
        return _file_clip(video, frames_in, warn, name)
    made = video.get_components()
    if not len(made.images):
        raise InputError("the video has no frames.")
    if made.alpha is not None:
        warn(ALPHA)
    sounds = ((made.audio, 0.0),) if made.audio is not None and made.audio["waveform"].shape[-1] else ()
    return replace(image_clip(made.images, 1, name), rate=clip_rate(made.frame_rate), sounds=sounds)


def _file_clip(video: InputImpl.VideoFromFile, frames_in: str, warn: Callable[[str], None], name: str) -> Clip:
    with opened(video) as film:
        times, size = packet_times(film), (film.pictures.height, film.pictures.width)
    if uneven(times):
        warn(
            "the clip has a variable frame rate. Its frames are kept and shown evenly at the average rate, so sound may drift; "
            "convert the file to a constant rate to avoid that."
        )
    if frames_in == "disk":
        read, length = partial(file_parts, video), 0
    else:
        check_memory(len(times), *size)
        held = list(file_parts(video))
        read, length = lambda: iter(held), sum(len(part.images) for part in held)
    first = next(read(), None)
    if first is None:
        raise InputError("the video has no frames.")
    if first.alpha:
        warn(ALPHA)
    parts, sounds = lambda: checked((part.images for part in read()), name), file_sounds(video, first.start)
    return Clip(parts, length, *first.images.shape[1:3], first.rate, tuple(sounds))


def joined_video(joined: Joined, clip: Clip, second: Clip | None = None) -> Input.Video:
    """A VIDEO of joined frames at the rate of a clip, with the sound of both clips in its place and silence elsewhere."""
    placed = [(clip, joined.before)] + ([(second, joined.arrival)] if second else [])
    sounds = [(audio, float(first / each.rate) + start) for each, first in placed for audio, start in each.sounds]
    audio = placed_sound(sounds, float(len(joined.frames) / clip.rate)) if sounds else None
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=joined.frames, audio=audio, frame_rate=clip.rate))
