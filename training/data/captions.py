"""Captions: a text file beside a clip, or a table of a data set in CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from ...schedulers import InputError

TABLES = ("metadata.csv", "metadata.jsonl", "captions.csv", "captions.jsonl")
COLUMNS = ("file_name", "text")
_NAMES = {  # what others call the two columns
    "file_name": ("file_name", "file", "path", "video", "video_path", "image", "image_path", "media_path"),
    "text": ("text", "caption", "prompt"),
}


class LongCaption(InputError):
    """A caption has more tokens than a model was trained with."""


def read_caption(clip: Path) -> str | InputError | None:
    """Words of the text file beside a clip; None if there is none, the reason if they cannot be read."""
    path = clip.with_suffix(".txt")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return " ".join(_decoded(data).split())
    except UnicodeDecodeError as error:
        return InputError(
            f"its caption {path.name} is no text in UTF-8 (byte {error.start} is {data[error.start]:#04x}); save it as UTF-8"
        )


def table_rows(path: Path) -> list[tuple[str, str]]:
    """(file name, caption) of every row of a table.

    Raises:
        InputError: it is not in UTF-8, lacks a column, or a line of it is no JSON object.
    """
    try:
        text = _decoded(path.read_bytes())
        rows = _json_lines(path, text) if path.suffix == ".jsonl" else _csv(path, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table in UTF-8: {error}.") from error
    return [((name or "").strip(), caption or "") for name, caption in rows]


def _csv(path: Path, text: str) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    name, caption = _columns(reader.fieldnames or [], f"{path}", f"; its first line must be {','.join(COLUMNS)}")
    return [(row[name], row[caption]) for row in reader]


def _json_lines(path: Path, text: str) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}, is no JSON: {error}.") from None
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {number}, is no object like {{"file_name": "a.mp4", "text": "a cat"}}.')
        name, caption = (row[column] for column in _columns(row, f"{path}, line {number},", ""))
        if not isinstance(name, str) or not isinstance(caption, str):
            raise InputError(f"{path}, line {number}, holds something else than two texts.")
        rows.append((name, caption))
    return rows


def _columns(found, where: str, advice: str) -> list[str]:
    """The columns of the file names and the captions."""
    chosen = {column: next((name for name in _NAMES[column] if name in found), None) for column in COLUMNS}
    missing = [column for column, name in chosen.items() if name is None]
    if missing:
        raise InputError(f"{where} has no column {' and no column '.join(missing)}{advice}.")
    return list(chosen.values())


def _decoded(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where it begins with that mark."""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
