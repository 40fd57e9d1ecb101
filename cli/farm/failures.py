"""What failed: a file beside the videos, and a list in which one reason is said once."""

import json
from pathlib import Path

from ..storage import Remote, put

FILE = "failures.jsonl"
NAMED = 3  # jobs of one reason that are told by name


def write_failures(folder: Path | Remote, failures: dict, tries: dict) -> None:
    """Write a line for each failure: id, reason, and how often it was tried; where nothing failed, no file is left.

    Args:
        failures: {id: reason}.
        tries: {id: number}; a job that was never begun is not in it.
    """
    if not failures:
        (folder / FILE).unlink(missing_ok=True)
        return
    lines = [{"id": name, "reason": reason, "tries": tries.get(name, 0)} for name, reason in failures.items()]
    put(folder / FILE, "".join(json.dumps(line) + "\n" for line in lines).encode())


def grouped(failures: dict) -> dict:
    """The same with a line for each reason: {"a, b, c and 97 others": reason}."""
    names = {}
    for name, reason in failures.items():
        names.setdefault(reason, []).append(name)
    more = {reason: f" and {len(each) - NAMED} more" if len(each) > NAMED else "" for reason, each in names.items()}
    return {", ".join(each[:NAMED]) + more[reason]: reason for reason, each in names.items()}
