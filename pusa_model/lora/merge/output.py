"""Where a merged model file goes: a name that is free, and a disk with room."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ....schedulers import InputError
from ....schedulers.grammar import shown
from ...storage.files import make_folder, remove_abandoned

FOLDER = "diffusion_models"
SUFFIX = ".safetensors"
_RESERVED = re.compile(r'[<>:"|?*\x00-\x1f\ud800-\udfff]')  # not allowed in file names on Windows, or anywhere


def output_path(filename: str) -> Path:
    """The file in models/diffusion_models that a name stands for. Its subfolders are made.

    Args:
        filename: with or without the suffix; subfolders are allowed, leaving the folder is not.

    Raises:
        InputError: the name or its folder is unusable, or a file of that name elsewhere would be found instead.
    """
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(FOLDER)]
    # ComfyUI lists models/unet, the old name of this folder, first.
    folder = next((each for each in folders if each.name == FOLDER), folders[0]).resolve()
    name = filename.strip().removesuffix(SUFFIX).replace("\\", "/")
    if not name or _RESERVED.search(name):
        raise InputError(f'`filename` is `{shown(filename)}`; give a file name, without any of < > : " | ? *.')
    path = (folder / f"{name}{SUFFIX}").resolve()
    if folder not in path.parents or any(not part or part.startswith(".") for part in name.split("/")):
        raise InputError(f"`filename` is `{shown(filename)}`; give a file name that stays inside models/{FOLDER}.")
    found = folder_paths.get_full_path(FOLDER, str(path.relative_to(folder)))
    if found is not None and Path(found).resolve() != path:
        raise InputError(f"`filename`: another folder of diffusion models has a file {name}{SUFFIX}. Choose another name.")
    make_folder(path, f"`filename`: models/{FOLDER}/{name}{SUFFIX}")
    return path


def listed_name(path: Path) -> str:
    """The name by which ComfyUI's loaders list a file that ``output_path`` gave."""
    return next(
        str(path.relative_to(folder))
        for folder in (Path(each).resolve() for each in folder_paths.get_folder_paths(FOLDER))
        if folder in path.parents
    )


def check_output(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse an output before anything is read.

    Raises:
        InputError: it is one of the inputs, exists already, is of another format, or its folder does not exist.
    """
    if output.suffix.lower() != ".safetensors":
        raise InputError(f"`filename`: {output.name} must end in .safetensors.")
    if not output.parent.is_dir():
        raise InputError(f"`filename`: the folder of {output.name} does not exist.")
    if output.exists():
        if any(path.exists() and output.samefile(path) for path in inputs):
            raise InputError(f"`filename`: {output.name} is one of the files that are merged. Choose another name.")
        if not overwrite or not output.is_file():
            raise InputError(f"`filename`: {output.name} exists. Choose another name, or turn on `overwrite`.")


def check_space(folder: Path, size: int) -> None:
    """Refuse to start what would fill the disk, once it is freed of what killed writers left in the folder.

    Raises:
        InputError: the disk has less than ``size`` bytes free.
    """
    remove_abandoned(folder)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"`filename`: the merged file needs {size / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free. Make space, or choose "
            "a base in a smaller format."
        )
