"""Pictures and clips by the names that they have in ComfyUI's input folder."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import folder_paths
import nodes as core_nodes
from comfy_api.latest import InputImpl
from torch import Tensor

from ...pusa_model.video.clip import Edge
from ...schedulers import InputError, Resampling
from ...schedulers.grammar import shown
from ...schedulers.timeline import Item
from .video import video_clip


def missing(name: str) -> str:
    """What to say of a file that is not there; nothing of one that is."""
    try:
        there = folder_paths.exists_annotated_filepath(name) and path_of(name).is_file()
    except (OSError, ValueError):  # a name that no system has
        there = False
    if there:
        return ""
    return f"there is no file `{shown(name)}` in ComfyUI's input folder. Drop it onto the timeline, or put it there."


def path_of(name: str) -> Path:
    """The file of a name, which may end in ``[input]``, ``[output]`` or ``[temp]`` as ComfyUI writes it."""
    return Path(folder_paths.get_annotated_filepath(name))


def stamp(name: str) -> tuple:
    """What changes with a file: name, size, time of change in nanoseconds; nothing of one that is not there."""
    if missing(name):
        return (name,)
    found = path_of(name).stat()
    return name, found.st_size, found.st_mtime_ns


def is_video(name: str) -> bool:
    """By its name, as ComfyUI tells it."""
    return bool(folder_paths.filter_files_content_types([path_of(name).name], ["video"]))


def picture(item: Item, rate: Fraction, warn: Callable[[str], None]) -> Tensor:
    """The picture of a line, [1, H, W, 3]: a picture file (the first of an animated one), or a frame of a clip.

    Raises:
        InputError: the file cannot be read, or `from` where there is one picture.
    """
    if is_video(item.source):
        return clip(item, 1, rate, warn, lambda frames: frames)
    if item.begin != "start":
        raise InputError(f"`from {item.begin}` takes a frame of a clip, but {shown(item.source)} is a picture.")
    try:
        return core_nodes.LoadImage().load_image(item.source)[0][:1]
    except Exception as error:  # whatever a decoder raises
        raise InputError(f"{shown(item.source)} cannot be read as a picture ({type(error).__name__}).") from error


def clip(item: Item, count: int, rate: Fraction, warn: Callable[[str], None], fitted: Callable[[Tensor], Tensor]) -> Tensor:
    """Frames [count, H, W, 3] of the clip of a line at a rate, from its start, its end, or a time.

    Args:
        fitted: applied to frames while they are read, so that a large clip need not be held as it is.

    Raises:
        InputError: the file cannot be read, or is shorter.
    """
    whole = item.begin in ("start", "end")
    seconds = 0.0 if whole else float(item.begin.removesuffix("s"))
    try:
        read = video_clip(InputImpl.VideoFromFile(str(path_of(item.source)), start_time=seconds), "disk", warn, item.source)
    except InputError as error:
        raise InputError(f"{shown(item.source)}{'' if whole else f' from {item.begin}'}: {error}") from error
    resampling = Resampling(read.rate, item.resample, rate)
    needed = resampling.steps_needed(count - 1) + 1
    edge = Edge("end" if item.begin == "end" else "start", needed)
    length = 0
    for part in edge.watch(map(fitted, read.parts())):
        length += len(part)
        if edge.end == "start" and length >= needed:
            break
    if length < needed:
        behind = "" if whole else f" from {item.begin} on"
        raise InputError(
            f"{shown(item.source)} has {length} frame{'s' * (length != 1)}{behind}, at {float(read.rate):g} per second; {needed} "
            f"are needed for {count} at {float(rate):g}."
        )
    frames = resampling.to_model(edge.inwards(), count)
    return frames.flip(0) if item.begin == "end" else frames
