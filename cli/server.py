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
from pathlib import Path

LOG_TAIL = 40


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
    """

    def __init__(self, python, comfyui_path, base_directory, port=None, extra_args=(), timeout: float = 300.0):
        self.base_directory = Path(base_directory)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.base_directory / f"server-{self.port}.log"
        self.timeout = timeout
        self._command = server_command(python, comfyui_path, base_directory, self.port, extra_args)
        self._process = None

    def __enter__(self):
        with open(self.log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                # A group of its own, so that stopping it also stops what it started.
                start_new_session=sys.platform != "win32",
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

    def stop(self) -> None:
        """End the server and everything that it started."""
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
            os.killpg(self._process.pid, number)

    def _wait_until_ready(self) -> None:
        # No proxy from the environment may come between us and our own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
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
