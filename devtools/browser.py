"""What the browser tests look with and at.

A Chromium (an installed one, Playwright's own, or Debian's package), and the newest page of ComfyUI beside the pinned one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from .console import SetupError, say
from .pins import NEWEST_PAGE
from .venvs import pip

VARIABLE, PAGE = "PUSA_CHROMIUM", "PUSA_NEWEST_PAGE"
INSIDE = "comfyui_frontend_package/static/"  # of the package that holds the page
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": tuple(
        str(Path(os.environ.get(root, "C:\\")) / rest)
        for root in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        for rest in ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
    ),
}
DOWNLOADS = "https://cdn.playwright.dev/"
APT_INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
REACHABLE_S, LIMIT_S = 5, 600
OWN = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"


def installed() -> str:
    """The browser that PUSA_CHROMIUM names, else one that is installed; empty where there is none.

    Raises:
        SetupError: PUSA_CHROMIUM names no program.
    """
    if named := os.environ.get(VARIABLE):
        found = shutil.which(named)
        if not found:
            raise SetupError(f"{VARIABLE} is {named}, which is not a program. Set it to a Chromium, Chrome or Edge, or unset it.")
        return found
    found = [shutil.which(name) for name in (*NAMES, *PLACES.get(sys.platform, ()))]
    return next((path for path in found if path and works(path)), "")


def works(path: str) -> bool:
    """Whether a program answers as a browser does; Ubuntu's package of that name is only a hint to install another."""
    if sys.platform == "win32":
        return True  # there the question for the version opens a window
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and any(name in answer.stdout for name in ("Chrom", "Edge"))


def playwrights_own(python: Path) -> str:
    """The Chromium that Playwright has downloaded; empty where there is none that runs."""
    answer = subprocess.run([str(python), "-c", OWN], capture_output=True, text=True, timeout=60)
    path = answer.stdout.strip()
    return path if answer.returncode == 0 and Path(path).exists() and works(path) else ""


def ready(python: Path, log: Path) -> str:
    """A Chromium, made ready if need be; empty where none can be had.

    Args:
        python: interpreter of an environment with Playwright.
        log: file for the output of what is run.
    """
    found = installed() or playwrights_own(python)
    if not found and reachable(DOWNLOADS):
        _run("Downloading Chromium", [str(python), "-m", "playwright", "install", "chromium"], log)
        found = playwrights_own(python)
    if not found and apt_works():
        # Without fresh lists the package may be unknown, or known under an address that is gone.
        if _run("Installing Debian's Chromium", APT_INSTALL, log) or (
            _run("Reading the lists of packages", ["apt-get", "update"], log)
            and _run("Installing Debian's Chromium again", APT_INSTALL, log)
        ):
            found = installed()
    return found


def reachable(url: str) -> bool:
    """Whether a server answers at all, through the proxy if there is one."""
    try:
        urllib.request.urlopen(url, timeout=REACHABLE_S).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def apt_works() -> bool:
    """Whether packages of Debian's kind can be installed without asking for a password."""
    return sys.platform == "linux" and os.geteuid() == 0 and bool(shutil.which("apt-get"))


def _run(title: str, command: list, log: Path) -> bool:
    """Run a command for a limited time, its output at the end of `log`; whether it ended well."""
    say(f"{title} ...")
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with open(log, "a", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environ, timeout=LIMIT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            file.write(f"{error}\n")
            return False
    return done.returncode == 0


def newest_page(venv: Path, root: Path, log: Path) -> str:
    """The folder for ComfyUI's `--front-end-root`, made in the cache if need be; empty where the package cannot be had.

    Args:
        venv: an environment with pip.
        root: the cache.
    """
    folder = root / "page" / NEWEST_PAGE.version
    if folder.exists():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        requirement = work / "page.txt"
        requirement.write_text(NEWEST_PAGE.requirement + "\n", encoding="utf-8")
        what = ["--require-hashes", "-r", requirement, "--no-deps", "--only-binary", ":all:", "-d", work]
        pip(venv, f"Downloading ComfyUI's page {NEWEST_PAGE.version}", ["download", *what], log)
        with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
            archive.extractall(work, [name for name in archive.namelist() if name.startswith(INSIDE)])
        if not folder.exists():  # another run has made it meanwhile
            os.replace(work / INSIDE, folder)
    except SetupError:
        return ""
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return str(folder)
