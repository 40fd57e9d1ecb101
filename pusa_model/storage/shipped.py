"""What comes with the pack: model files that ComfyUI lists beside the user's own, pictures and clips of the ready graphs."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

from ...schedulers import InputError
from .files import write_whole

ASSETS = Path(__file__).resolve().parents[2] / "assets"
MODELS = ASSETS / "nano" / "models"
INPUTS = (ASSETS / "nano" / "input", ASSETS / "input")
RECORD = "input_files.txt"


def register_models() -> None:
    """Have ComfyUI list the embedded model, behind the user's own folders. The files are read where they are."""
    for folder in sorted(path for path in MODELS.glob("*") if path.is_dir()):
        folder_paths.add_model_folder_path(folder.name, str(folder))


def put_inputs() -> None:
    """Put each picture and clip into ComfyUI's input folder once, unless a file of that name is there.

    A record in ComfyUI's user folder says which were put there, so that one the user removes stays away. A folder that cannot be
    written to is a line in the log: the graphs open without their pictures then.
    """
    record = Path(folder_paths.get_system_user_directory("pusa")) / RECORD
    target = Path(folder_paths.get_input_directory())
    try:
        known = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
        new = [path for folder in INPUTS for path in sorted(folder.glob("*")) if path.name not in known]
        for source in new:
            if not (target / source.name).exists():
                with source.open("rb") as file:
                    write_whole(target / source.name, lambda out, file=file: shutil.copyfileobj(file, out))
        if new:
            names = "".join(f"{name}\n" for name in [*known, *(path.name for path in new)])
            write_whole(record, lambda out: out.write(names.encode()))
    except (InputError, OSError, UnicodeError) as error:
        logging.warning("Pusa: the pictures of the ready graphs are not in ComfyUI's input folder: %s", error)
