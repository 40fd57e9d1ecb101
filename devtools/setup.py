"""The whole set-up. The second time it only looks, and needs no network."""

import os
from dataclasses import dataclass
from pathlib import Path

from . import comfyui, venvs
from .console import say
from .lock import exclusive
from .pins import COMFYUI
from .places import REPOSITORY, cache_root, check_disk, clone_base


@dataclass(frozen=True)
class Host:
    """A ComfyUI that can run this clone."""

    checkout: Path
    venv: Path
    base: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return venvs.venv_python(self.venv)

    def environ(self) -> dict:
        """Environment variables for a command inside the environment."""
        inside = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        inside["VIRTUAL_ENV"] = str(self.venv)
        inside["PATH"] = os.pathsep.join([str(self.python.parent), os.environ.get("PATH", os.defpath)])
        inside["COMFYUI_PATH"] = str(self.checkout)
        return inside


def set_up(version: str, checkout: str = "", root: Path | None = None) -> Host:
    """Make everything ready for one ComfyUI.

    Args:
        version: a key of `pins.COMFYUI`.
        checkout: an existing ComfyUI folder to use instead, or an empty string.
        root: cache folder; the user's own if None.

    Raises:
        SetupError: a step failed; nothing half-made is left.
    """
    root = root or cache_root()
    pin = COMFYUI[version]
    folder = comfyui.existing_checkout(checkout) if checkout else comfyui.pinned_folder(root, pin)
    if not _is_ready(root, folder):
        with exclusive(root / "setup.lock"):
            # Another set-up may have done it while this one waited.
            if not _is_ready(root, folder):
                _make_ready(root, folder, None if checkout else pin)
    venv = venvs.environment_folder(root, folder / "requirements.txt")
    return Host(checkout=folder, venv=venv, base=clone_base(root, REPOSITORY))


def _is_ready(root: Path, folder: Path) -> bool:
    return folder.exists() and venvs.ready(venvs.environment_folder(root, folder / "requirements.txt"))


def _make_ready(root: Path, folder: Path, pin) -> None:
    say(f"Setting up in {root} (once; set PUSA_DEV_CACHE for another place).")
    check_disk(root)
    log = root / "setup.log"
    log.write_text("", encoding="utf-8")
    if pin is not None:
        comfyui.fetch(root, pin, log)
    requirements = folder / "requirements.txt"
    venv = venvs.environment_folder(root, requirements)
    if not venvs.ready(venv):
        venvs.build_environment(venv, requirements, log)
