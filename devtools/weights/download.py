"""Fetch model files from the hub: shown with their sizes first, resumed where they stopped, checked against their sha256.

`dev.py download` runs this file inside the environment, where huggingface_hub is; importing it needs the standard library only.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import venvs
from ..console import SetupError, say
from ..lock import exclusive
from ..pins import DOWNLOAD
from ..places import cache_root
from .join import blocks, checksum_inside, join
from .models import MODELS, JoinedFile, ModelFile


def add_arguments(parser) -> None:
    """The arguments of `dev.py download`, which are those of this file too."""
    parser.add_argument("name", choices=MODELS, help=f"what to fetch: {', '.join(MODELS)}")
    parser.add_argument(
        "--comfyui-models",
        type=_folder,
        metavar="DIR",
        help="the models folder of a ComfyUI (default: the one in COMFYUI_PATH, else that of dev.py serve)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the files, their sizes and what is there already")
    parser.add_argument("--yes", action="store_true", help="fetch without asking")


def _folder(text: str) -> Path:
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return folder


def command(python: Path, venv: Path, models: Path, arguments) -> list:
    """The command line that does it inside the environment; installs huggingface_hub there if nothing else has."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('huggingface_hub') is None)"
    if subprocess.run([str(python), "-c", code]).returncode != 0:
        root = cache_root()
        with exclusive(root / "setup.lock"):
            venvs.pip(venv, "Installing huggingface_hub", ["install", *DOWNLOAD], root / "setup.log")
    flags = [f"--{name}" for name in ("dry-run", "yes") if getattr(arguments, name.replace("-", "_"))]
    return [python, "-m", "devtools.weights.download", arguments.name, "--comfyui-models", models, *flags]


@dataclass(frozen=True)
class Job:
    """One file to have: where from, where to, what the hub says of it, and the file that it is joined into, if it is a half."""

    file: ModelFile
    url: str
    target: Path
    size: int
    sha256: str
    whole: Path | None = None

    @property
    def place(self) -> Path:
        """The file in which ComfyUI finds it."""
        return self.whole or self.target

    @property
    def part(self) -> Path:
        """What came of it so far. Beside the target, so that the last step is one rename; ComfyUI lists no `.part`."""
        return self.target.with_name(f"{self.target.name}.{self.sha256[:8]}.part")

    @property
    def missing(self) -> int:
        """Bytes still to come."""
        return self.size - (self.part.stat().st_size if self.part.exists() else 0)

    def is_done(self) -> bool:
        """Whether exactly this file lies at the target, or was joined into the whole."""
        if self.whole is not None and self.whole.is_file():
            say(f"Checking {self.file.stem} in {self.whole.name} ...")
            return checksum_inside(self.whole, self.file.stem) == self.sha256
        if not self.target.is_file() or self.target.stat().st_size != self.size:
            return False
        say(f"Checking {self.target.name} ...")
        return sha256_of(self.target) == self.sha256


def look_up(files, models: Path) -> list:
    """Ask the hub for size, sha256 and address of every file.

    Raises:
        SetupError: no answer, or no such repository, file or checksum.
    """
    from huggingface_hub import hf_hub_url

    single = [(file, whole) for whole in files for file in (whole.halves if isinstance(whole, JoinedFile) else [whole])]
    answers = {repository: _ask(repository) for repository in dict.fromkeys(file.repository for file, _ in single)}
    jobs = []
    for file, whole in single:
        info = answers[file.repository]
        weights = {found.rfilename: found.lfs for found in info.siblings if found.lfs}
        if file.source not in weights:
            raise SetupError(
                f"{file.repository} has no file {file.source} any more. It has: {', '.join(sorted(weights)[:12]) or 'none'}. "
                f"Download one by hand into {models / file.folder}."
            )
        lfs = weights[file.source]
        # With the commit in the address, a change on the hub meanwhile cannot mix two versions.
        url = hf_hub_url(file.repository, file.source, revision=info.sha)
        joined = models / whole.folder / whole.name if isinstance(whole, JoinedFile) else None
        jobs.append(Job(file, url, models / file.folder / file.name, lfs.size, lfs.sha256, joined))
    return jobs


def _ask(repository: str):
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return HfApi().model_info(repository, files_metadata=True, timeout=30)
    except RepositoryNotFoundError:
        raise SetupError(f"{constants.ENDPOINT} has no public repository {repository}.") from None
    except Exception as error:  # the hub's client changes its HTTP library, and with it the exceptions, from version to version
        raise SetupError(
            f"The model hub {constants.ENDPOINT} could not be asked for {repository} ({_first_line(error)}): check the network, "
            "HTTPS_PROXY for a proxy, and HF_ENDPOINT for a mirror."
        ) from None


def sort_out(jobs: list) -> list:
    """The jobs that are still to do.

    Raises:
        SetupError: another file has the name of one of them. It may be of value, so it is not replaced.
    """
    open_jobs = [job for job in jobs if not job.is_done()]
    for job in open_jobs:
        if job.place.exists():
            raise SetupError(
                f"{job.place} is another file than {job.file.source} of {job.file.repository}, or a broken one. "
                "Move or delete it and run the command again. Nothing was fetched."
            )
    return open_jobs


def show(jobs: list, open_jobs: list) -> None:
    """The table of what is to come."""
    for job in jobs:
        state = "" if job in open_jobs else "  (there already)"
        say(f"  {in_words(job.size):>9}  {job.file.folder}/{job.place.name}{state}")
        say(f"  {'':9}  {job.file.note}; from {job.file.repository}")


def to_join(jobs: list) -> dict:
    """The halves of each file that is still to be joined, by its path."""
    wholes = dict.fromkeys(job.whole for job in jobs if job.whole is not None and not job.whole.exists())
    return {whole: [job for job in jobs if job.whole == whole] for whole in wholes}


def check_space(files: Iterable[tuple[Path, int]], free) -> None:
    """Refuse what does not fit: paths with the bytes that are to come there. `free` tells the free bytes of a folder's disk.

    Raises:
        SetupError: too little on one of the disks; folders under models may be links to several.
    """
    needed, folders = {}, {}
    for path, size in files:
        folder = next(parent for parent in path.parents if parent.exists())
        disk = folder.stat().st_dev
        folders[disk] = folder
        needed[disk] = needed.get(disk, 0) + size
    for disk, folder in folders.items():
        if free(folder) < needed[disk]:
            raise SetupError(
                f"The disk of {folder} has {in_words(free(folder))} free, and {in_words(needed[disk])} are to come. "
                "Nothing was fetched."
            )


def fetch(job: Job) -> None:
    """Bring one file: go on where an earlier run stopped, check it, and only then give it its name.

    The client's own hf_hub_download begins anew after an interruption, so this calls the part of it that can resume.

    Raises:
        SetupError: the transfer stopped, and what came is kept; or the checksum is wrong, and nothing is.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    job.target.parent.mkdir(parents=True, exist_ok=True)
    if job.missing < 0:
        job.part.unlink()
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    try:
        with open(job.part, "ab") as file:
            done = file.tell()
            http_get(job.url, file, resume_size=done, headers=headers, expected_size=job.size, displayed_filename=job.target.name)
    except Exception as error:  # as in _ask
        raise SetupError(
            f"{job.target.name}: the transfer stopped ({_first_line(error)}). Run the command again: it goes on after the "
            f"{in_words(job.size - job.missing)} that are there."
        ) from None
    say(f"Checking {job.target.name} ...")
    found = sha256_of(job.part)
    if found != job.sha256:
        job.part.unlink()
        raise SetupError(
            f"{job.target.name} has the wrong checksum and was deleted: its sha256 is {found}, the hub lists {job.sha256}. "
            "Run the command again; if that repeats itself, a proxy or a mirror delivers something else."
        )
    job.part.replace(job.target)


def sha256_of(path: Path) -> str:
    """Checksum of a file of any size."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in blocks(file):
            digest.update(block)
    return digest.hexdigest()


def in_words(size: int) -> str:
    """Bytes as MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _agreed() -> bool:
    try:
        return input("Fetch now? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def download(name: str, models: Path, dry_run=False, yes=False, free=lambda folder: shutil.disk_usage(folder).free) -> int:
    """Have all files of one name below a models folder; returns the exit code.

    Raises:
        SetupError: something is in the way; the message says what.
    """
    jobs = look_up(MODELS[name], models)
    open_jobs = sort_out(jobs)
    say(f"\n{name} in {models}:\n")
    show(jobs, open_jobs)
    joins = {whole: sum(half.size for half in halves) for whole, halves in to_join(jobs).items()}
    if not open_jobs and not joins:
        say("\nAll of it is there.")
        return 0
    say(f"\n{in_words(sum(job.missing for job in open_jobs))} to fetch.")
    for whole, size in joins.items():
        say(f"{whole.name} is then joined, for which {in_words(size)} more have to be free; its halves are removed.")
    check_space([*((job.target, job.missing) for job in open_jobs), *joins.items()], free)
    if dry_run:
        return 0
    if not yes and not _agreed():
        say("Nothing was fetched. With --yes there is no question.")
        return 1
    with exclusive(cache_root() / "download.lock", "Another download is at work; waiting for it"):
        for job in open_jobs:
            if not job.is_done():  # the other one may have brought it
                fetch(job)
        for whole, halves in to_join(jobs).items():
            say(f"Joining {whole.name} ...")
            join({half.file.stem: half.target for half in halves}, whole)
            for half in halves:
                half.target.unlink()
    say(f"\nDone. Restart ComfyUI, or press R in it, to see the files in {models}.")
    return 0


def main(argv=None) -> int:
    """Run one command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devtools.weights.download", allow_abbrev=False)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.comfyui_models is None:
        parser.error("--comfyui-models is needed here; dev.py download knows a default")
    try:
        return download(arguments.name, arguments.comfyui_models, arguments.dry_run, arguments.yes)
    except SetupError as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the command again: it goes on where it stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
