"""The layouts of a data set of captioned clips, read into one list.

    DATASET/metadata.csv, metadata.jsonl, captions.csv or captions.jsonl (file_name and text), and the files in DATASET/train/
    or DATASET/
    DATASET/**/clip.mp4 beside clip.txt, for every clip, in subfolders too

Pictures are samples of one frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...schedulers import InputError
from .captions import COLUMNS, TABLES, read_caption, table_rows

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif")


@dataclass(frozen=True)
class Item:
    """A captioned clip or picture.

    Attributes:
        name: its path inside the data set; with ``#`` and the first frame behind it where a clip is cut into several.
        path: of its file.
        caption: its words.
        start: first frame that is taken, counted in frames of the model.
    """

    name: str
    path: Path
    caption: str
    start: int = 0

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
        Usable items, and those without a file, without a caption, named twice, of a kind that is not read, or not in the table.

    Raises:
        InputError: the folder is not there, its table cannot be read, there are two, or it holds nothing at all.
    """
    folder = Path(dataset)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}.")
    tables = [folder / name for name in TABLES if (folder / name).exists()]
    if len(tables) > 1:
        raise InputError(f"{folder} holds {' and '.join(path.name for path in tables)}; leave one table of captions there.")
    rows = table_rows(tables[0]) if tables else [(name, read_caption(folder / name)) for name in _media(folder)]
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
            f"{folder} holds no clips. Put a {TABLES[0]} with the columns {','.join(COLUMNS)} there and the files into its folder "
            "train, or clips with a text file of the same name beside each."
        )
    if tables:
        taken = {item.path for item in items}
        others = (name for name in _media(folder) if folder / name not in taken and name.removeprefix("train/") not in seen)
        skipped += [Skipped(name, f"{tables[0].name} does not name it") for name in others]
    return items, skipped


def _media(folder: Path) -> Iterable[str]:
    """Clips and pictures of a folder and of its subfolders, by their paths in it; what is hidden is left alone."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES + VIDEOS and path.is_file())
    names = (path.relative_to(folder) for path in paths)
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _reason(name: str, path: Path | None, caption: str | InputError | None, seen: set[str]) -> str | None:
    """Why a row cannot be used; None if it can."""
    if name in seen:
        return "is named twice"
    if path is None:
        return "there is no such file"
    if path.suffix.lower() not in PICTURES + VIDEOS:
        return f"is neither a video nor a picture ({', '.join(VIDEOS + PICTURES)})"
    if caption is None:
        return f"has no caption: {path.with_suffix('.txt').name} is missing"
    if isinstance(caption, InputError):
        return str(caption)
    return None if caption.strip() else "has an empty caption"
