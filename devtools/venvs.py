"""Virtual environments, and pip inside them."""

import sys
from pathlib import Path

from .console import CommandError, SetupError, clean_environment, run_step
from .pins import TESTS, TORCH, environment_key
from .places import remove

STAMP = "complete"


def ready(venv: Path) -> bool:
    """Whether an environment was finished, and its base interpreter is still installed."""
    return (venv / STAMP).exists() and venv_python(venv).exists()


def environment_folder(root: Path, requirements: Path) -> Path:
    """Where the environment for ComfyUI's requirements.txt lies, finished or not."""
    return root / "env" / environment_key(requirements.read_text(encoding="utf-8"))


def build_environment(venv: Path, requirements: Path, log: Path) -> None:
    """Everything that ComfyUI, this pack and the tests need."""
    steps = (
        ("Installing PyTorch (several GB)", TORCH),
        # PyTorch's pins again, so that nothing in the later steps moves them.
        ("Installing ComfyUI's requirements", ("-r", requirements, *TORCH)),
        ("Installing the test tools", (*TESTS, *TORCH)),
    )
    build(venv, steps, log)


def build(venv: Path, steps, log: Path) -> None:
    """Make `venv` and run `pip install` for each (title, arguments) of `steps`. Call it under the set-up's lock.

    Scripts hold absolute paths, so an environment cannot be built elsewhere and moved into place. A stamp, written
    last, tells a finished one from the remains of an interrupted one instead.
    """
    try:
        create_venv(venv, "Making a virtual environment", log)
        for title, arguments in steps:
            pip(venv, title, ["install", *arguments], log)
        (venv / STAMP).touch()
    except BaseException:
        remove(venv)
        raise


def pip(venv: Path, title: str, arguments: list, log: Path) -> None:
    """Run pip as one visible step; a failure says what to do."""
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [venv_python(venv), "-m", "pip", *arguments, *quiet]
    try:
        run_step(title, command, log, clean_environment())
    except CommandError as error:
        raise SetupError(f"{error}\n\n{advice(error.output)}") from None


def create_venv(folder: Path, title: str, log: Path) -> None:
    """A virtual environment with pip."""
    remove(folder)
    try:
        run_step(title, [sys.executable, "-m", "venv", folder], log, clean_environment())
    except CommandError as error:
        raise SetupError(
            f"{error}\n\nPython cannot make virtual environments here. On Debian and Ubuntu: apt install python3-venv."
        ) from None


def venv_python(venv: Path) -> Path:
    """The interpreter of a virtual environment."""
    return venv / "Scripts" / "python.exe" if sys.platform == "win32" else venv / "bin" / "python"


_ADVICE = (
    (
        ("DO NOT MATCH THE HASHES",),
        "The index delivers a file that is not the pinned one. Check the index and the proxy.",
    ),
    (
        ("No space left", "not enough space"),
        "The disk is full. Free some space, or set PUSA_DEV_CACHE to another disk.",
    ),
    (
        ("onnection", "Retrying", "imed out", "Proxy", "SSL", "resolve", "ame or service"),
        "The package index could not be reached. Check the network; behind a proxy set HTTPS_PROXY, for another index "
        "set PIP_INDEX_URL. Then run the command again.",
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "The index has no such package for this Python "
        f"({sys.version_info[0]}.{sys.version_info[1]}), or could not be reached. Check the network and the index that "
        "pip is configured to use (pip config list), or run dev.py with another Python version, 3.10 to 3.13.",
    ),
)


def advice(output: str) -> str:
    """What to do about a failed pip, judged by its output."""
    for signs, words in _ADVICE:
        if any(sign in output for sign in signs):
            return words
    return "Run the command again; if it fails in the same place, the log says more."
