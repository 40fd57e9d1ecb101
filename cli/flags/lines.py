"""Jobs as lines of a file: {"id": "a17", "image_paths": ["a17.png"], "prompt": "..", "seed": 7}; the other keys are flags."""

import argparse
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .official import NEEDLESS, SAME, multi_cond
from .values import noise, positions

NOT_OF_A_LINE = (
    "help", "jobs", "inputs", "prompt_dir", "image_dir", "video_dir", "dry_run", "output", "output_dir", "server", "wait", "ray",
    "comfyui", "comfyui_python", "comfyui_flags", "gpus_per_job", "retries", *NEEDLESS,
)  # fmt: skip
ID = re.compile(r"[^./\\\x00-\x1f\x7f\ud800-\udfff][^/\\\x00-\x1f\x7f\ud800-\udfff]*")  # nor half of a character
LONGEST = 200  # bytes of an id; a file name has 255, and a suffix is put behind


class Line(NamedTuple):
    """A job of the file: the number of its line, what its video is called, and its flags."""

    number: int
    id: str
    flags: argparse.Namespace


def jobs_of(
    path: Path,
    base: argparse.Namespace,
    command: argparse.ArgumentParser,
    refuse: Callable[[str], None],
    understand: Callable[[argparse.Namespace, Callable], None],
) -> list:
    """The jobs of a file, each with the flags of the command line where it does not say otherwise.

    Args:
        base: flags of the command line.
        command: reads the flags of its task.
        refuse: takes a sentence, and does not return.
        understand: settles what flags of one video mean, or refuses them.
    """
    jobs, seen = [], {}
    try:
        texts = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeError) as error:
        refuse(f"--jobs: {path} cannot be read as text in UTF-8: {error}")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue

        def wrong(words: str, number: int = number) -> None:
            refuse(f"--jobs: {path}, line {number}: {words}")

        values = read_line(text, wrong)
        id = read_id(values.pop("id", None), wrong)
        if (before := seen.setdefault(id.casefold(), number)) != number:
            wrong(f"the id {id!r} is that of line {before}; each names a file, where upper and lower case may be one")
        jobs.append(Line(number, id, flags_of(values, base, command, wrong)))
        understand(jobs[-1].flags, wrong)
    if not jobs:
        refuse(f"--jobs: {path} has no line")
    return jobs


def read_line(text: str, wrong: Callable[[str], None]) -> dict:
    """A line as a JSON object in which no key is there twice."""

    def once(pairs: list) -> dict:
        for key in (keys := [key for key, _ in pairs]):
            if keys.count(key) > 1:
                wrong(f"{key!r} is there {keys.count(key)} times")
        return dict(pairs)

    try:
        values = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        wrong(f"no JSON: {error}")
    if not isinstance(values, dict):
        wrong('it must be an object as {"id": "a17", "prompt": ".."}')
    return values


def read_id(id, wrong: Callable[[str], None]) -> str:
    """An id that can name a file."""
    if id is None:
        wrong('it has no "id", which names the video')
    if not isinstance(id, str) or not ID.fullmatch(id) or len(id.encode()) > LONGEST:
        wrong(f"the id {id!r} cannot name a file: a text of up to {LONGEST} bytes without slashes that does not begin with a dot")
    return id


def flags_of(values: dict, base: argparse.Namespace, command, wrong: Callable[[str], None]) -> argparse.Namespace:
    """The flags of the command line with those of a line in their place."""
    actions, flags, words = command._option_string_actions, copy.copy(base), []
    for key, value in values.items():
        flag = SAME.get(f"--{key}", f"--{key}")
        action = actions.get(flag)
        if action is None or action.dest in NOT_OF_A_LINE:
            allowed = {name[2:] for name, each in actions.items() if name[:2] == "--" and each.dest not in NOT_OF_A_LINE}
            wrong(f"there is no key {key!r}; there are id, {', '.join(sorted(allowed))}")
        setattr(flags, action.dest, copy.copy(action.default))
        words += said(flag, value, action, wrong)
    command.error = wrong  # what a type of a flag refuses is told with the line
    try:
        command.parse_args(words, flags)
    finally:
        del command.error
    return flags


def said(flag: str, value, action: argparse.Action, wrong: Callable[[str], None]) -> list:
    """A value of a line as words of a command line."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            wrong(f"{flag[2:]!r} is true or false, not {json.dumps(value)}")
        return [flag] * value
    if action.type is multi_cond and isinstance(value, dict):
        value = json.dumps(value)
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in values):
        wrong(f"{flag[2:]!r} takes texts or numbers, not {json.dumps(value)}")
    texts = [str(each) for each in values]
    if action.type in (positions, noise):
        return [f"{flag}={','.join(texts)}"]
    if isinstance(action, argparse._AppendAction):
        return [f"{flag}={text}" for text in texts]
    if action.nargs is None and len(texts) > 1:
        wrong(f"{flag[2:]!r} takes one value, not {len(texts)}")
    return [f"{flag}={texts[0]}"] if len(texts) == 1 else [flag, *texts]
