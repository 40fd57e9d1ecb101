"""The text grammar of every `positions` and `noise` widget."""

import re

import torch

from .errors import InputError

_INDEX = r"(?:-?[0-9]{1,9}|last)"
_POSITION = re.compile(rf"({_INDEX})(?:\s*-\s*({_INDEX}))?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

POSITIONS_HELP = "Write positions as `0, 20`, a range `0-3`, `-1` from the end, or `last`, separated by commas."
NOISE_HELP = "Write noise as one value `0.2`, one per condition frame `0.0, 0.3`, or a ramp `0.0..0.5`, each from 0 to 1."


def position_terms(text: str) -> list[tuple[str, str | None, str]]:
    """Split a `positions` text into (first, last or None, the part as written), without knowing the clip.

    Raises:
        InputError: a part is not a position; the part is quoted.
    """
    terms = []
    for part in text.split(","):
        match = _POSITION.fullmatch(part.strip())
        if match is None:
            shown = f"`{part.strip()}` in `positions` is not a position" if part.strip() else "`positions` has an empty part"
            raise InputError(f"{shown}. {POSITIONS_HELP}")
        terms.append((match[1], match[2], part.strip()))
    return terms


def parse_positions(text: str, length: int, what: str = "The clip") -> list[int]:
    """Read a `positions` text for a clip of ``length`` frames (pixel or latent, the grammar is the same).

    Args:
        text: parts separated by commas: an index, a range ``a-b`` (both ends included), a negative index from the
            end, ``last``.
        length: number of frames that can be named, 1 or more.
        what: how the errors speak of the clip, for example "The latent has 21 frames (81 pixel frames)".

    Returns:
        Indices in 0..length-1 in the order written.

    Raises:
        InputError: a part does not parse, lies outside the clip, runs backwards, or names a frame twice.
    """

    def index(word: str, part: str) -> int:
        value = length - 1 if word == "last" else int(word)
        resolved = value + length if value < 0 else value
        if not 0 <= resolved < length:
            raise InputError(
                f"position {part} is outside the clip. {what}, so `positions` takes 0 to {length - 1}, "
                f"negatives from the end (-1 to -{length}), or `last`."
            )
        return resolved

    found: list[int] = []
    for first, last, part in position_terms(text):
        start = index(first, part)
        stop = start if last is None else index(last, part)
        if stop < start:
            raise InputError(f"the range `{part}` in `positions` runs backwards (frame {start} to {stop}).")
        for position in range(start, stop + 1):
            if position in found:
                raise InputError(f"`positions` names frame {position} twice (`{part}` repeats it).")
            found.append(position)
    return found


def noise_values(text: str) -> tuple[list[float], bool]:
    """Read the numbers of a `noise` text: (values, whether they are the two ends of a ramp).

    Raises:
        InputError: a part is not a number or lies outside [0, 1]; the part is quoted.
    """

    def number(part: str) -> float:
        part = part.strip()
        if _NUMBER.fullmatch(part) is None:
            shown = f"`{part}` in `noise` is not a number" if part else "`noise` has an empty part"
            raise InputError(f"{shown}. {NOISE_HELP}")
        value = float(part)
        if not 0 <= value <= 1:
            raise InputError(f"the noise multiplier {part} is outside 0 to 1. 0 keeps the frame clean, 1 leaves it free.")
        return value

    ramp = ".." in text
    parts = text.split("..", 1) if ramp else text.split(",")
    return [number(part) for part in parts], ramp


def parse_noise(text: str, count: int) -> list[float]:
    """Read a `noise` text for ``count`` condition frames.

    Args:
        text: one value for all, a list with one value per condition frame, or a ramp ``a..b`` (linear, both ends
            reached; a single frame takes the first end).
        count: condition frames, 1 or more.

    Returns:
        ``count`` multipliers in [0, 1].

    Raises:
        InputError: a part does not parse, a value is outside [0, 1], or a list has another length.
    """
    values, ramp = noise_values(text)
    if ramp:
        return torch.linspace(*values, count, dtype=torch.float64).tolist()
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise InputError(
            f"`noise` lists {len(values)} values for {count} condition frame{'s' * (count != 1)}. Give one value for "
            f"all, exactly {count}, or a ramp such as `0.0..0.5`, which fits any number."
        )
    return values


def fit_noise(text: str, count: int) -> list[float]:
    """Read a `noise` text as a curve over ``count`` condition frames: a list of another length is interpolated.

    Both ends of the curve are reached; a single frame takes the first value. A list of ``count`` values is taken as it is.

    Raises:
        InputError: a part does not parse, or a value is outside [0, 1].
    """
    values, _ = noise_values(text)
    places = torch.linspace(0, len(values) - 1, count, dtype=torch.float64)
    lower = places.floor().clamp(max=max(0, len(values) - 2)).long()
    table = torch.tensor([*values, values[-1]], dtype=torch.float64)
    return torch.lerp(table[lower], table[lower + 1], places - lower).tolist()
