"""The lines of a timeline: a picture or a clip each, where it lies, and how far it may change.

``0: start.png, noise 0.2`` or ``68-last: "a, b.mp4" from end, noise 0.5..0.0, fit pad  # the harbour``. The page reads and
writes the same lines in `web/timeline/lines.js`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import InputError
from ..grammar import LONGEST, noise_values, plain, position_terms, shown

CHOICES = {
    "fit": ("crop", "pad", "stretch"),
    "encode": ("causal", "still"),
    "resample": ("nearest", "blend", "keep"),
    "renoise": ("once", "always", "steps"),
}
"""What may follow a file behind a comma, beside `noise`; the first choice is the one that holds without."""

SOCKETS = 50  # image0 to image49
TOLD = 5  # mistakes of one error

_BLANK = " \t\r\u3000"
_COMMAS = re.compile("[,\uff0c\u3001\uff64]")
_COMMENT = re.compile(r"(?:^|(?<=[ \t\u3000]))#.*")
_COLON = re.compile("[:\uff1a]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ODD = re.compile('[\x00-\x1f\x7f,\uff0c\u3001\uff64"\\\\#\u3000]|^ | $|  | from |^image[0-9]+$')  # is written in quotation marks
_SOCKET = re.compile(r"image([0-9]{1,9})")
_SECONDS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)s")
_COUNT = re.compile(r"steps ([0-9]{1,5})")


@dataclass(frozen=True)
class Item:
    """A line: one picture, or a clip.

    Attributes:
        first, last: frames as they are written, ``0``, ``-1`` or ``last``; ``last`` is None for a picture.
        source: a file of ComfyUI's input folder, or the name of a socket.
        socket: whether it is that.
        begin: where a clip is taken from: ``start``, ``end``, or a time such as ``3.2s``.
        noise: text of the noise multipliers, as everywhere.
        fit, encode, resample, renoise: as on the condition nodes; ``resample`` is that of Extend Video.
        renoise_steps: of ``renoise steps``.
        line: its number in the text, from 1.
    """

    first: str
    last: str | None
    source: str
    socket: bool = False
    begin: str = "start"
    noise: str = "0.2"
    fit: str = "crop"
    encode: str = "causal"
    resample: str = "nearest"
    renoise: str = "once"
    renoise_steps: int = 1
    line: int = field(default=0, compare=False)

    def __str__(self) -> str:
        place = self.first if self.last is None else f"{self.first}-{self.last}"
        begin = "" if self.begin == "start" else f" from {self.begin}"
        parts = [f"{place}: {self.source if self.socket else written(self.source)}{begin}", f"noise {self.noise}"]
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) != choices[0]:
                parts.append(f"{name} {value}{f' {self.renoise_steps}' * (value == 'steps')}")
        return ", ".join(parts)


Mistakes = dict[int, str]
"""Sentences by the number of a line."""


def written(name: str) -> str:
    """The name of a file as a line has it: in quotation marks where it could be read otherwise."""
    if not _ODD.search(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_timeline(text: str) -> tuple[list[Item], Mistakes]:
    """The items of a text and what is wrong with other lines.

    Raises:
        InputError: the text is too long to be meant.
    """
    if len(text) > LONGEST:
        raise InputError(f"`timeline` is {len(text)} characters long; at most {LONGEST} are read.")
    items, mistakes = [], {}
    for number, line in enumerate(text.split("\n"), 1):
        try:
            item = _item(line, number)
        except InputError as error:
            mistakes[number] = str(error)
        else:
            if item is not None:
                items.append(item)
    return items, mistakes


def parse_timeline(text: str) -> list[Item]:
    """The items of a text.

    Raises:
        InputError: names each line that cannot be read, up to five, and why.
    """
    items, mistakes = read_timeline(text)
    refuse(mistakes)
    return items


def refuse(mistakes: Mistakes) -> None:
    """Raise InputError if there are mistakes, with the first five."""
    told = [f"line {line}: {sentence}" for line, sentence in sorted(mistakes.items())]
    if len(told) > TOLD:
        told[TOLD:] = [f"{len(told) - TOLD} more lines have mistakes."]
    if told:
        raise InputError(" ".join(told))


def _item(line: str, number: int) -> Item | None:
    """The item of a line; None for one that is blank or a comment."""
    bare = line.strip(_BLANK)
    if not bare or bare.startswith("#"):
        return None
    place, *behind = _COLON.split(bare, maxsplit=1)
    if not behind:
        raise InputError(f"`{shown(bare)}` has no colon. Write a place and what lies there: `0: start.png, noise 0.2`.")
    first, last = _place(place.strip(_BLANK))
    source, quoted, begin, parts = _source(behind[0].strip(_BLANK))
    socket = not quoted and _SOCKET.fullmatch(source)
    if socket and int(socket[1]) >= SOCKETS:
        raise InputError(f"there is no socket `{source}`; there are image0 to image{SOCKETS - 1}.")
    return Item(first, last, source, bool(socket), _begin(begin), line=number, **_options(parts))


def _place(text: str) -> tuple[str, str | None]:
    try:
        ((first, last, _),) = position_terms(text)
    except (InputError, ValueError):
        raise InputError(
            f"`{shown(text)}` is not a place. Write the frame of a picture, `0`, `40`, `-1` or `last`, or those of a clip, `0-12` "
            "or `68-last`."
        ) from None
    return first, last


def _source(rest: str) -> tuple[str, bool, str, list[str]]:
    """Name, whether it stood in quotation marks, what stands behind `from`, and the parts behind commas."""
    if match := _QUOTED.match(rest):
        name = re.sub(r"\\(.)", r"\1", match[1])
        tail, *parts = _COMMAS.split(_COMMENT.sub("", rest[match.end() :]))
        tail = tail.strip(_BLANK)
        begin = tail.removeprefix("from ").strip(_BLANK)
        if tail and begin == tail:
            raise InputError(f"`{shown(tail)}` behind the name is not read. Options stand behind commas: `, noise 0.2`.")
        return _named(name), True, begin, parts
    if rest.startswith('"'):
        raise InputError(f"`{shown(rest)}` has no closing quotation mark.")
    bare, *parts = _COMMAS.split(_COMMENT.sub("", rest))
    name, _, begin = bare.strip(_BLANK).rpartition(" from ")
    return _named((name or begin).strip(_BLANK)), False, begin.strip(_BLANK) if name else "", parts


def _named(name: str) -> str:
    if not name:
        raise InputError("there is no file. Write its name behind the colon: `0: start.png`.")
    return name


def _begin(text: str) -> str:
    word = plain(text, "timeline").replace(" ", "") or "start"
    if word not in ("start", "end") and not _SECONDS.fullmatch(word):
        raise InputError(
            f"`from {shown(text)}` is no place in a clip; use from start, from end or a time such as from 3.2s. A name with `from` "
            'in it stands in quotation marks: `"far from home.mp4"`.'
        )
    return word


def _options(parts: Sequence[str]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    noise: list[str] = []
    name = ""
    for part in parts:
        word = plain(part, "timeline").strip(_BLANK)
        key, _, value = word.partition(" ")
        if key != "noise" and key not in CHOICES:
            if name != "noise":
                names = ", ".join(["noise", *CHOICES])
                what = f"`{shown(word)}` is not an option" if word else "an option is missing between two commas"
                raise InputError(f"{what}; there are {names}. A name with a comma in it stands in quotation marks.")
            noise.append(word)  # a list of values goes on
            continue
        if key in found or key == name == "noise":
            raise InputError(f"`{key}` is written twice.")
        name, value = key, value.strip(_BLANK)
        if key == "noise":
            found["noise"] = value
            noise.append(value)
        else:
            found |= _choice(key, value)
    if noise:
        text = ", ".join(noise)
        values, ramp = noise_values(text)
        found["noise"] = "..".join(each.strip() for each in text.split("..", 1)) if ramp else text
    return found


def _choice(key: str, value: str) -> dict[str, str | int]:
    if key == "renoise" and (match := _COUNT.fullmatch(value)) and int(match[1]):
        return {"renoise": "steps", "renoise_steps": int(match[1])}
    if value not in CHOICES[key] or value == "steps":
        allowed = ", ".join(CHOICES[key]).replace("steps", "steps 3")
        raise InputError(f"`{key}` is `{shown(value)}`; use {allowed}.")
    return {key: value}
