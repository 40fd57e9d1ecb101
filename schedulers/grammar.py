"""The text grammar of every `positions` and `noise` widget."""

import re

import torch

from .errors import InputError

LONGEST = 10_000  # characters of a text that are read
SHOWN = 40  # characters of a part that an error repeats

_INDEX = r"(?:-?[0-9]{1,9}|last)"
_POSITION = re.compile(rf"({_INDEX})(?:\s*-\s*({_INDEX}))?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"0,([0-9]+)")
_SEPARATOR = re.compile(r",\s+|\.\.")

# Chinese and Japanese keyboards: full-width ASCII, ideographic space, commas and full stops, minus and long-vowel signs.
_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    **dict.fromkeys((0x3001, 0xFF64), ","),
    **dict.fromkeys((0x3002, 0xFF61), "."),
    **dict.fromkeys((0x2212, 0x30FC), "-"),
}

POSITIONS_HELP = "Write positions as `0, 20`, a range `0-3`, `-1` from the end, or `last`, separated by commas."
NOISE_HELP = "Write noise as one value `0.2`, one per condition frame `0.0, 0.3`, or a ramp `0.0..0.5`, each from 0 to 1."


def shown(part: str) -> str:
    """What an error repeats of a text: its beginning, on one line."""
    beginning = part if len(part) <= SHOWN else part[: SHOWN - 3] + "..."
    return "".join(each if each.isprintable() else "?" for each in beginning)


def plain(text: str, name: str) -> str:
    """The text in ASCII as far as its characters have one meaning there.

    Raises:
        InputError: it is too long to be meant.
    """
    if len(text) > LONGEST:
        raise InputError(f"`{name}` is {len(text)} characters long; at most {LONGEST} are read.")
    return text.translate(_ASCII)


def decimal_comma(text: str) -> str:
    """What to say of a `noise` text that looks like numbers with decimal commas, such as `0,1` or `0,1, 0,5`; else nothing."""
    parts = [part.strip() for part in _SEPARATOR.split(text)]
    written = [match for match in map(_DECIMAL.fullmatch, parts) if match and int(match[1][:SHOWN])]
    if not written or any(_DECIMAL.fullmatch(part) is None and part not in ("0", "1") for part in parts):
        return ""
    return f"`{shown(written[0][0])}` is two values; one value with a decimal point is `{shown('0.' + written[0][1])}`."


def position_terms(text: str) -> list[tuple[str, str | None, str]]:
    """Split a `positions` text into (first, last or None, the part as errors show it), without knowing the clip.

    Raises:
        InputError: a part is not a position, and its beginning is quoted; or the text is too long.
    """
    terms = []
    for part in map(str.strip, plain(text, "positions").split(",")):
        match = _POSITION.fullmatch(part)
        if match is None:
            what = f"`{shown(part)}` in `positions` is not a position" if part else "`positions` has an empty part"
            raise InputError(f"{what}. {POSITIONS_HELP}")
        terms.append((match[1], match[2], shown(part)))
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

    found: dict[int, None] = {}  # in the order written
    for first, last, part in position_terms(text):
        start = index(first, part)
        stop = start if last is None else index(last, part)
        if stop < start:
            raise InputError(f"the range `{part}` in `positions` runs backwards (frame {start} to {stop}).")
        for position in range(start, stop + 1):
            if position in found:
                raise InputError(f"`positions` names frame {position} twice (`{part}` repeats it).")
            found[position] = None
    return list(found)


def noise_values(text: str) -> tuple[list[float], bool]:
    """Read the numbers of a `noise` text: (values, whether they are the two ends of a ramp).

    Raises:
        InputError: a part is not a number or lies outside [0, 1], and its beginning is quoted; or the text is too long.
    """

    def number(part: str) -> float:
        part = part.strip()
        if _NUMBER.fullmatch(part) is None:
            what = f"`{shown(part)}` in `noise` is not a number" if part else "`noise` has an empty part"
            raise InputError(f"{what}. {decimal_comma(text) or NOISE_HELP}")
        value = float(part)
        if not 0 <= value <= 1:
            hint = decimal_comma(text) or "0 keeps the frame clean, 1 leaves it free."
            raise InputError(f"the noise multiplier {shown(part)} is outside 0 to 1. {hint}")
        return value

    ascii_text = plain(text, "noise")
    ramp = ".." in ascii_text
    parts = ascii_text.split("..", 1) if ramp else ascii_text.split(",")
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
            f"all, exactly {count}, or a ramp such as `0.0..0.5`, which fits any number. {decimal_comma(text)}".rstrip()
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
