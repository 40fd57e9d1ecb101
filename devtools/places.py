"""Where things lie: the cache shared by all clones, and the ComfyUI base directory of this one."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .console import SetupError

REPOSITORY = Path(__file__).resolve().parent.parent
PACK_NAME = "pusa"
NEEDED_GB = 12


def cache_root() -> Path:
    """The per-user cache folder; the environment variable PUSA_DEV_CACHE overrides it."""
    if override := os.environ.get("PUSA_DEV_CACHE"):
        return Path(override).expanduser().absolute()
    if sys.platform == "win32":
        user = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        user = Path.home() / "Library" / "Caches"
    else:
        user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "pusa-dev"


def check_disk(root: Path, needed_gb: float = NEEDED_GB) -> None:
    """Refuse to begin what the disk cannot hold."""
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            f"The disk of {root} has {free_gb:.1f} GB free; the set-up needs {needed_gb:.0f} GB. "
            "Free some space, or point the environment variable PUSA_DEV_CACHE to a folder on another disk."
        )


def clone_base(root: Path, repository: Path = REPOSITORY) -> Path:
    """The ComfyUI base directory of this clone."""
    key = hashlib.sha256(str(repository).encode()).hexdigest()[:12]
    return prepare_base(root / "base" / key, repository)


def prepare_base(base: Path, repository: Path = REPOSITORY) -> Path:
    """Make `base` a ComfyUI base directory whose only custom node pack is a link to `repository`."""
    for name in ("custom_nodes", "models", "input", "output", "user", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / PACK_NAME
    if not (link.exists() and link.samefile(repository)):
        _link_folder(link, repository)
    return base


def copy_comfyui(checkout: Path, folder: Path, repository: Path = REPOSITORY) -> Path:
    """Make `folder` a ComfyUI as a user installs it: a copy of a checkout with a link to `repository` and the embedded model."""
    left = {".git", "models", "input", "output", "user", "temp", "tests", "tests-unit"}  # of its root: it has more of these names
    shutil.copytree(checkout, folder, ignore=lambda here, names: left & {*names} if Path(here) == checkout else {"__pycache__"})
    shutil.copytree(repository / "assets" / "nano" / "models", folder / "models")
    return prepare_base(folder, repository)


def _link_folder(link: Path, target: Path) -> None:
    if sys.platform != "win32":
        link.unlink(missing_ok=True)
        link.symlink_to(target, target_is_directory=True)
        return
    # A junction: unlike a symlink it needs no special rights. rmdir removes the junction, never what it shows.
    if os.path.lexists(link):
        os.rmdir(link)
    done = subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SetupError(f"Cannot link {target} as {link}: {done.stderr.strip() or done.stdout.strip()}")


def remove(folder: Path) -> None:
    """Remove a folder that holds nothing of value, or say which one is in the way."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SetupError(f"Cannot remove {folder} ({error}). Close what uses it and delete that folder by hand.") from None
