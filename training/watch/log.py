"""The table of a run, ``log.csv``: a row a step, the validation where there was one, and its plot."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from ...pusa_model.storage.files import write_whole
from ...schedulers import InputError
from .plot import draw

NAME, PICTURE = "log.csv", "log.png"
COLUMNS = ("step", "loss", "learning_rate", "seconds", "t2v", "i2v", "start_end", "extension", "validation")


class Log:
    """Writes the table beside the trained files, and the plot whenever there is a validation and at the end.

    Rows are appended as they come; where a run goes on from a checkpoint, the rows behind it are removed first.

    Args:
        folder: of the run.
        step: that the run is at.

    Raises:
        InputError: the table cannot be read or written.
    """

    def __init__(self, folder: Path, step: int):
        self.path, self.picture = folder / NAME, folder / PICTURE
        self.rows = [row for row in _read(self.path) if int(row["step"]) <= step]
        self._write_all()
        self.began = time.monotonic()

    def step(self, step: int, loss: float, rate: float, validation: dict | None) -> None:
        """Add the row of a step."""
        seconds, self.began = time.monotonic() - self.began, time.monotonic()
        values = {"step": step}
        if step:  # else it is the validation before the first one
            values |= {"loss": f"{loss:.6g}", "learning_rate": f"{rate:.6g}", "seconds": f"{seconds:.3f}"}
        values |= {name: f"{value:.6g}" for name, value in (validation or {}).items() if name in COLUMNS}
        self.rows.append({name: str(values.get(name, "")) for name in COLUMNS})
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(self.rows[-1])
        if validation:
            self.plot()

    def plot(self) -> None:
        """Write the plot."""
        series = {
            name: [(int(row["step"]), float(row[name])) for row in self.rows if row[name]] for name in ("loss", *COLUMNS[4:8])
        }
        picture = draw(series)
        write_whole(self.picture, lambda out: picture.save(out, format="PNG"), str(self.picture))

    def _write_all(self) -> None:
        lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in self.rows)]
        text = "".join(line + "\r\n" for line in lines).encode()
        write_whole(self.path, lambda out: out.write(text), str(self.path), len(text))


def _read(path: Path) -> list[dict[str, str]]:
    """Rows of a table; a last one that was cut off is left out."""
    if not path.exists():
        return []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if tuple(row) == COLUMNS and None not in row.values() and row["step"].isdigit()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); move it away.") from error
