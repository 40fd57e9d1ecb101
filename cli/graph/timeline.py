"""The text of a timeline: the files of this machine that its lines name go to the server, and their names there into the lines.

Of a line only the name is read here. What a line may say is in `schedulers/timeline`, and the server says what is wrong with one.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from .filling import Filling
from .links import GraphError, only
from .settings import Settings

BLANK = " \t\r\u3000"
COLON = re.compile("[:\uff1a]")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
END = re.compile("[,\uff0c\u3001\uff64]|(?:^|(?<=[ \t\u3000]))#")  # of a name without quotation marks: a comma, or a comment
SOCKET = re.compile("image[0-9]{1,9}")


def timeline(filling: Filling, settings: Settings) -> None:
    """The text for Timeline (Pusa), and its files.

    Raises:
        GraphError: the text or a file cannot be read, or a line names a socket.
    """
    (path,) = settings.timeline
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise GraphError(f"--timeline: {path} cannot be read as text in UTF-8: {error}") from None
    filling.graph[only(filling.graph, "PusaTimeline")]["inputs"]["timeline"] = with_uploads(text, path.parent, filling.remote)


def with_uploads(text: str, folder: Path, remote: Callable[[Path], str]) -> str:
    """A text with other names for the files that are there; every other line stays as it is.

    Args:
        folder: where names without a whole path begin.
        remote: the name on the server of a file.

    Raises:
        GraphError: a line names a socket.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if (span := name_span(line)) is None:
            continue
        begin, end = span
        name = name_in(line[begin:end])
        if SOCKET.fullmatch(line[begin:end]):
            raise GraphError(
                f"--timeline: line {number + 1} names the socket `{name}`, and there is nothing to connect to it here; write the "
                "name of a file. One of this name stands in quotation marks."
            )
        if os.path.isfile(folder / name):  # a Path would raise where the system takes no such name
            mark = '"' if line[begin] == '"' else ""
            lines[number] = line[:begin] + mark + remote(folder / name) + mark + line[end:]
    return "\n".join(lines)


def name_span(line: str) -> tuple | None:
    """Where the name in a line begins and ends, quotation marks included; None where there is none."""
    colon = COLON.search(line)
    if colon is None or line.lstrip(BLANK).startswith("#"):
        return None
    rest = line[colon.end() :].lstrip(BLANK)
    begin = len(line) - len(rest)
    if quoted := QUOTED.match(rest):
        return (begin, begin + quoted.end()) if quoted[1] else None
    end = END.search(rest)
    bare = rest[: end.start() if end else None].rstrip(BLANK)
    name = (bare.rpartition(" from ")[0] or bare).rstrip(BLANK)
    return None if not name or name.startswith('"') else (begin, begin + len(name))


def name_in(written: str) -> str:
    """A name without its quotation marks."""
    return re.sub(r"\\(.)", r"\1", written[1:-1]) if written.startswith('"') else written
