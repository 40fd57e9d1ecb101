"""From one clip into another, or back to its own start: one window between given frames at both ends."""

from __future__ import annotations

import torch

from ...schedulers import InputError, Resampling, check_length
from .clip import Clip, Edge
from .color import ColorMap, cross_fade
from .frames import make_frames
from .joined import Joined, check_added, check_ends
from .window import WindowSampler


def transition(
    first: Clip,
    second: Clip | None,
    positive: list,
    sampler: WindowSampler,
    *,
    overlap: int,
    new_frames: int,
    seed: int,
    color_match: float = 0.0,
    fade: int = 0,
    resample: str = "keep",
    frames_in: str = "memory",
) -> Joined:
    """Lead from the end of one clip to the start of another, or back to its own start.

    Each end is encoded alone, so that neither leaks into the other. With colours matched they go evenly from those of one end
    to those of the other.

    Args:
        second: None makes a loop: the new frames lead from the last frame of the clip to its first, which is not repeated.
        overlap: frames of either end that the window is given, n k + 1 with n the factor of the VAE (4), n + 1 or more.
        new_frames: frames of the model between, n k - 1 (with another frame rate: before resampling).
        color_match, fade, resample, frames_in: as ``color_match``, ``cross_fade``, ``resample`` and ``frames_in`` of ``extend``,
            for both ends.

    Raises:
        InputError: clips that are too short or differ in size or rate, nothing to add, or anything that a window cannot use.
    """
    factor = sampler.factor
    check_length(overlap, "overlap", factor)
    check_ends(overlap, fade, color_match, resample, least=factor + 1)
    if new_frames < factor - 1 or (new_frames + 1) % factor:
        examples = f"{2 * factor - 1}, {5 * factor - 1} or {14 * factor - 1}"
        raise InputError(f"`new_frames` is {new_frames}; between two clips there are {factor}n - 1, such as {examples}.")
    if second is not None and (second.height, second.width, second.rate) != (first.height, first.width, first.rate):
        raise InputError(f"the first clip has {first}, the second {second}. Bring both to one size and one rate.")
    resampling = Resampling(first.rate, resample, sampler.rate)
    needed, added = resampling.steps_needed(overlap - 1) + 1, resampling.clip_span(new_frames + 1) - 1
    check_added(added, first)
    tail, head = Edge("end", needed), Edge("start", needed)
    after = added + (second.length if second else 0)
    with make_frames(frames_in, first.height, first.width, after=after, given=first.length) as frames:
        frames.fill(tail.watch(first.parts() if second else head.watch(first.parts())))
        arrival = place = frames.length + added
        for part in head.watch(second.parts()) if second else ():
            frames.put(place, part)
            place += len(part)
        before, behind = (resampling.to_model(edge.inwards(), overlap) for edge in (tail, head))
        before = before.flip(0)
        window = sampler.draw(positive, seed, 2 * overlap + new_frames, before, behind)
        drawn, new, drawn_behind = window.split([overlap, new_frames, overlap])
        first_drawn = drawn.clone()
        if color_match:
            colors = ColorMap.between(drawn, before, color_match)
            colors_behind = ColorMap.between(drawn_behind, behind, color_match)
            weight = torch.arange(1, new_frames + 1) / (new_frames + 1)
            drawn, drawn_behind = colors.apply(drawn), colors_behind.apply(drawn_behind)
            new = colors.towards(colors_behind, weight).apply(new)
        frames.put(frames.length, resampling.between(torch.cat([before[-1:], new, behind[:1]])))
        if fade:
            frames.put(frames.length - fade, cross_fade(before[-fade:], drawn[-fade:]))
            frames.put(arrival if second else 0, cross_fade(drawn_behind[:fade], behind[:fade]))
        whole = frames.tensor()
        return Joined(whole, whole[frames.length : arrival], first_drawn, arrival=arrival)
