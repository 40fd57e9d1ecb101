"""The two layouts of a data set of captioned clips, read into one list.

    DATASET/metadata.csv (columns file_name,text) and the files in DATASET/train/ or DATASET/
    DATASET/clip.mp4 beside DATASET/clip.txt, for every clip

Pictures are samples of one frame.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ...schedulers import InputError

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif")
TABLE = "metadata.csv"
_COLUMNS = ("file_name", "text")


@dataclass(frozen=True)
class Item:
    """A captioned clip or picture; ``name`` is its path inside the data set."""

    name: str
    path: Path
    caption: str

    @property
    def picture(self) -> bool:
        """Whether it is a picture."""
        return self.path.suffix.lower() in PICTURES


@dataclass(frozen=True)
class Skipped:
    """Something that cannot be used, and why."""

    name: str
    reason: str


def find_items(dataset: str | Path) -> tuple[list[Item], list[Skipped]]:
    """What a data set holds, in the order of its names or of its table.

    Returns:
        Usable items, and those without a file, without a caption, named twice or of a kind that is not read.

    Raises:
        InputError: the folder is not there, its table cannot be read, or it holds nothing at all.
    """
    folder = Path(dataset)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}.")
    rows = _table_rows(folder / TABLE) if (folder / TABLE).exists() else _flat_rows(folder)
    items, skipped, seen = [], [], set()
    for name, caption in rows:
        path = next((place / name for place in (folder / "train", folder) if (place / name).is_file()), None)
        reason = _reason(name, path, caption, seen)
        seen.add(name)
        if reason:
            skipped.append(Skipped(name, reason))
        else:
            items.append(Item(name, path, caption.strip()))
    if not rows:
        raise InputError(
            f"{folder} holds no clips. Put a {TABLE} with the columns {','.join(_COLUMNS)} there and the files into "
            "its folder train, or clips with a text file of the same name beside each."
        )
    return items, skipped


def _reason(name: str, path: Path | None, caption: str | None, seen: set[str]) -> str | None:
    """Why a row cannot be used; None if it can."""
    if name in seen:
        return "is named twice"
    if path is None:
        return "there is no such file"
    if path.suffix.lower() not in PICTURES + VIDEOS:
        return f"is neither a video nor a picture ({', '.join(VIDEOS + PICTURES)})"
    if caption is None:
        return f"has no caption: {path.with_suffix('.txt').name} is missing"
    return None if caption.strip() else "has an empty caption"


def _table_rows(path: Path) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise InputError(
                    f"{path} has no column {' and no column '.join(missing)}; its first line must be {','.join(_COLUMNS)}."
                )
            return [((row["file_name"] or "").strip(), row["text"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table in UTF-8: {error}.") from error


def _flat_rows(folder: Path) -> list[tuple[str, str | None]]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES + VIDEOS)
    return [(path.name, _caption(path.with_suffix(".txt"))) for path in files]


def _caption(path: Path) -> str | None:
    """Words of a caption file, "" if they are not text; None if there is no file."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
