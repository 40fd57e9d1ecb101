"""A ComfyUI server process. Standard library only: dev.py uses it outside the environment too."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

LOG_TAIL = 40
# Runs a command that the kernel of Linux kills when the process ends that started it (prctl 1, PR_SET_PDEATHSIG), however that
# ends. The signal is bound to the thread that started it. Done here and not in preexec_fn, which may deadlock beside threads.
TIED = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerDied(Exception):
    """The server ended or never answered; the message shows the end of its log."""


def free_port(preferred: int = 0) -> int:
    """A port that nothing listens on: the preferred one if possible."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_arguments(python) -> list:
    """`--cpu` where that Python's torch has no CUDA GPU; ComfyUI would not start there without it."""
    code = "import torch; print(torch.cuda.is_available())"
    answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return [] if answer.stdout.strip() == "True" else ["--cpu"]


def server_command(python, comfyui_path, base_directory, port: int, extra_args=()) -> list:
    """The command line of a ComfyUI that keeps everything it writes in `base_directory`."""
    places = ["--base-directory", str(base_directory), "--database-url", "sqlite:///:memory:"]
    main = str(Path(comfyui_path) / "main.py")
    return [str(python), main, *places, "--port", str(port), "--disable-auto-launch", *map(str, extra_args)]


class ComfyServer:
    """A server for the time of a `with` block.

    Attributes:
        url: its address.
        log: the file with its output. It stays if the block raises, and goes if all went well.
        tied: it stays in the process group of this process and, on Linux, ends with the thread that starts it, so that nothing
            is left of it where this process is killed. What it started itself is left to whoever ends the group.
        wanted: asked while it starts; when it says no, the start is given up.
    """

    def __init__(
        self,
        python,
        comfyui_path,
        base_directory,
        port=None,
        extra_args=(),
        timeout: float = 300.0,
        tied: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ):
        self.base_directory = Path(base_directory)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.base_directory / f"server-{self.port}.log"
        self.timeout, self.tied, self.wanted = timeout, tied, wanted
        self._command = server_command(python, comfyui_path, base_directory, self.port, extra_args)
        self._process = None

    def __enter__(self):
        before = [sys.executable, "-c", TIED, str(os.getpid())] if self.tied and sys.platform == "linux" else []
        with open(self.log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*before, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                # A group of its own, so that stopping it also stops what it started.
                start_new_session=sys.platform != "win32" and not self.tied,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, *exception):
        self.stop()
        if kind is None:
            self.log.unlink(missing_ok=True)

    def log_text(self) -> str:
        """All that the server has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the server and, unless it is tied to this process, everything that it started."""
        if sys.platform == "win32":
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(self._process.pid)], capture_output=True)
            self._process.wait()
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.kill if self.tied else os.killpg)(self._process.pid, number)

    def _wait_until_ready(self) -> None:
        # No proxy from the environment may come between us and our own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if not self.wanted():
                raise ServerDied("ComfyUI is no longer wanted")
            if self._process.poll() is not None:
                raise ServerDied(self._report(f"ComfyUI ended at its start with exit code {self._process.returncode}"))
            try:
                with opener.open(self.url + "/system_stats", timeout=5) as answer:
                    json.load(answer)
                return
            except (OSError, ValueError):
                time.sleep(0.2)
        raise ServerDied(self._report(f"ComfyUI did not answer within {self.timeout:.0f} seconds"))

    def _report(self, what: str) -> str:
        tail = "\n".join(self.log_text().splitlines()[-LOG_TAIL:])
        return f"{what}. The end of its log ({self.log}):\n\n{tail}"
