"""Accelerate's trackers by name: TensorBoard, Weights & Biases and others, where they are installed."""

from __future__ import annotations

from pathlib import Path

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from ...schedulers import InputError


def check_trackers(names: str) -> None:
    """Refuse trackers that are not known or not installed.

    Raises:
        InputError: says which are.
    """
    there = [str(name) for name in get_available_trackers()]
    for name in _split(names):
        if name not in there:
            raise InputError(
                f"`log_with`: {name} is not installed, or accelerate does not know it. Here: {', '.join(there) or 'none'}."
            )


def start_trackers(names: str, folder: Path, config: dict) -> list[GeneralTracker]:
    """Trackers of a run, on the main process; ``check_trackers`` has seen their names.

    Args:
        names: separated by commas.
        folder: for those that write files.
        config: plain values that tell the run from others.
    """
    plain = {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str))}
    made = []
    for name in _split(names):
        kind = LOGGER_TYPE_TO_CLASS[name]
        made.append(kind(folder.name, **({"logging_dir": str(folder)} if kind.requires_logging_directory else {})))
        made[-1].start()
        made[-1].store_init_configuration(plain)
    return made


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]
