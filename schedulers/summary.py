"""What a condition node understood, in one line that is shown on it."""

from collections.abc import Sequence

from .geometry import FACTOR, pixel_frames

SHOWN = 6  # entries; of more, the first ones and the last


def summary(
    latents: Sequence[int],
    multipliers: Sequence[float],
    asked: Sequence[int] | None = None,
    earlier: int = 0,
    factor: int = FACTOR,
) -> str:
    """The condition frames that a node adds: ``0 -> latent 0, clean; 80 -> latent 20, level 0.5``.

    Args:
        latents: latent frames, in the order they were given.
        multipliers: m in [0, 1], one per latent frame.
        asked: the video frame that each was asked for; without it, the video frames that it holds are named.
        earlier: condition frames that were there before.
        factor: pixel frames of a latent frame.
    """
    frames = [range(frame, frame + 1) for frame in asked] if asked is not None else [pixel_frames(each, factor) for each in latents]
    entries = [
        f"{_span(frames[first], frames[last])} -> latent{'s' * (last > first)} "
        f"{_span(latents[first : first + 1], latents[last : last + 1])}, {_level(multipliers[first])}"
        for first, last in _runs(frames, latents, multipliers)
    ]
    if len(entries) > SHOWN:
        entries[SHOWN - 2 : -1] = [f"... {len(entries) - SHOWN + 1} more ..."]
    if earlier:
        entries.append(f"{earlier} latent frame{'s' * (earlier > 1)} from condition")
    return "; ".join(entries) or "no frame is given"


def _runs(frames: Sequence[range], latents: Sequence[int], multipliers: Sequence[float]) -> list[tuple[int, int]]:
    """First and last index of every run of neighbours on the timeline that share a multiplier."""
    runs: list[tuple[int, int]] = []
    for i, latent in enumerate(latents):
        goes_on = i and latent == latents[i - 1] + 1 and frames[i - 1].stop == frames[i].start
        if goes_on and multipliers[i] == multipliers[i - 1]:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs


def _span(first: Sequence[int], last: Sequence[int]) -> str:
    return f"{first[0]}-{last[-1]}" if last[-1] > first[0] else str(first[0])


def _level(multiplier: float) -> str:
    return {0: "clean", 1: "free"}.get(multiplier, f"level {multiplier:.3g}")
