"""Random and hostile inputs, hostile files, kills, long runs, cancelled runs and two servers: `python dev.py bench reliability`.

Every item is drawn from the seed and its own number alone. A fault is printed with the options that have it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hosting.process import start_comfyui

from ..measure.report import Table, hardware
from . import cancels, commands, hostile_files, inputs, kills, mixed, servers
from .host import Bench, make_base
from .tally import KINDS, Tally
from .training import disk, points

RESULTS = Path(__file__).resolve().parent.parent / "RELIABILITY.md"
HEAD = """\
# What it takes to make it fail

Printed by `python dev.py bench reliability`. *Crash*: a server that died or hung, or an error that is neither a refusal nor a
sentence of the pack. *Silent*: a success with NaN, of another shape than asked for, with another value than the file holds, or with
other bits than the same graph gives alone or a second time. *Lost*: finished work that was done again, or something left over."""


class Row(NamedTuple):
    """A check: what runs it, how many items it has in full and in the quick form, and what they are."""

    letter: str
    name: str
    run: Callable
    full: int
    quick: int
    about: str


ROWS = (
    Row("a", "inputs", inputs.run, 2000, 25, "random and hostile inputs over all nodes"),
    *(Row("b", name, hostile_files.run, 100, 3, "damaged files") for name in hostile_files.ROWS),
    *(Row("c", name, kills.run, 30, 1, "kill -9 at a random point") for name in kills.VICTIMS),
    Row("c", "command line", commands.run, 30, 1, "kill -9 in a folder of jobs"),
    Row("c", "training by points", points.run, 30, 3, "kill -9 at every part of a run"),
    Row("d", "mixed graphs", mixed.run, 500, 15, "many graphs in one server, a known one every 50"),
    Row("e", "cancelled", cancels.run, 50, 2, "cancelled at a random point"),
    Row("f", "two servers", servers.run, len(servers.CHANGES) + 3, 1, "on one base folder"),
    Row("g", "training", disk.run, 30, 2, "a full disk at every write"),
)


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(prog="dev.py bench reliability", description=__doc__.splitlines()[0], allow_abbrev=False)
    top.add_argument("--seed", type=int, default=0, help="of all random numbers (default 0)")
    top.add_argument("--only", metavar="LETTER[/NAME]", action="append", help="this check; give it again for another (default all)")
    top.add_argument("--number", type=int, help="only the item of this number of each check")
    top.add_argument("--count", type=int, help="items of each check (default: as in RELIABILITY.md)")
    top.add_argument("--quick", action="store_true", help="a few items of each check; RELIABILITY.md is not written")
    return top


def chosen(only: list[str] | None) -> list[Row]:
    """The rows of letters or names.

    Raises:
        SystemExit: there is none of that name.
    """
    rows = [row for row in ROWS if not only or row.letter in only or f"{row.letter}/{row.name}" in only]
    known = {row.letter for row in ROWS} | {f"{row.letter}/{row.name}" for row in ROWS}
    if wrong := set(only or ()) - known:
        raise SystemExit(f"There is no check {', '.join(sorted(wrong))}; there are {', '.join(sorted(known))}.")
    return rows


def numbers(row: Row, arguments: argparse.Namespace) -> range:
    """The items of a row."""
    if arguments.number is not None:
        return range(arguments.number, arguments.number + 1)
    return range(arguments.count or (row.quick if arguments.quick else row.full))


def measure(rows: list[Row], arguments: argparse.Namespace, show: Callable[[Tally], None]) -> list[Tally]:
    """Run checks on one base folder with one server; each is shown when it is done."""
    tallies = []
    with tempfile.TemporaryDirectory(prefix="pusa-reliability-") as folder:
        bench = Bench(make_base(Path(folder)))
        try:
            for row in rows:
                began, tally = time.monotonic(), Tally(row.letter, row.name, arguments.seed)
                row.run(bench, tally, numbers(row, arguments))
                bench.rest()
                tallies.append(tally)
                seconds = time.monotonic() - began
                print(f"{row.letter} {row.name}: {' '.join(tally.row[2:6])} in {seconds:.0f} s", file=sys.stderr, flush=True)
                show(tally)
        finally:
            bench.stop()
    return tallies


def page(cells: dict[tuple[str, str], list[str]], where: str) -> str:
    """The text of RELIABILITY.md: a row for each check by its letter and name."""
    about = "; ".join(dict.fromkeys(f"{row.letter}: {row.about}" for row in ROWS if (row.letter, row.name) in cells))
    rows = [cells[row.letter, row.name] for row in ROWS if (row.letter, row.name) in cells]
    table = Table("Tried, and what went wrong", ["", "check", "tried", *KINDS, "of these"], rows)
    return f"{HEAD}\n\n{where}\n\n{about}.\n\n{str(table).rstrip()}\n"


def written(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of an older RELIABILITY.md."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {(cells[0], cells[1]): cells for cells in lines[2:]}


def main(argv: list[str]) -> int:
    """Run the checks; returns 1 if anything went wrong."""
    arguments = parser().parse_args(argv)
    rows = chosen(arguments.only)
    # Leaving by an exception is what stops the server and removes the files.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.environ["OMP_NUM_THREADS"] = "1"  # the networks are tiny, and a child that is forked cannot use threads of its parent
    start_comfyui()
    where = f"*{hardware()}*, seed {arguments.seed}."
    whole = not (arguments.quick or arguments.count) and arguments.number is None

    def show(tally: Tally) -> None:
        """Let a row of full size take the place of an older one."""
        if whole:
            older = written(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            RESULTS.write_text(page(older | {(tally.letter, tally.name): tally.row}, where), encoding="utf-8")

    tallies = measure(rows, arguments, show)
    print(page({(tally.letter, tally.name): tally.row for tally in tallies}, where), end="", flush=True)
    return 0 if all(tally.kept for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
