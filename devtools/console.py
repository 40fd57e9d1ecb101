"""Long commands shown as one line each: what is being done, for how long, and the last thing it said."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

TAIL_LINES = 25
LINE_WIDTH = 300  # pip can list a thousand versions in one line


class SetupError(Exception):
    """Something the person at the terminal can act on; shown without a traceback."""


class CommandError(SetupError):
    """A command of the set-up failed. `output` is the end of what it printed."""

    def __init__(self, title: str, code: int, output: str, log: Path):
        self.output = output
        super().__init__(f"{title}: failed (exit code {code}). The end of its output:\n\n{output}\n\nAll of it: {log}")


def say(text: str) -> None:
    """Print a line now, also into a pipe."""
    print(text, flush=True)


class Ticker:
    """Shows `title`, the elapsed time and a changing note: redrawn on a terminal, else a line now and then."""

    quiet_seconds = 15

    def __init__(self, title: str):
        self.title = title
        self.started = self.shown = time.monotonic()
        self.live = sys.stdout.isatty()
        if not self.live:
            say(f"{title} ...")

    @property
    def elapsed(self) -> str:
        """Elapsed time as m:ss."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"{minutes}:{seconds:02}"

    def tick(self, note: str) -> None:
        """Show that it goes on."""
        text = f"{self.title}  {self.elapsed}  {note}"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)
        elif time.monotonic() - self.shown > self.quiet_seconds:
            self.shown = time.monotonic()
            say(f"  {self.elapsed}  {note}"[:160])

    def end(self, word: str) -> None:
        """Close the line with what became of it."""
        if self.live:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="")
        say(f"{self.title}: {word} ({self.elapsed})")


def run_step(title: str, command: list, log: Path, env=None) -> None:
    """Run a command as one visible step; its whole output goes to the end of `log`.

    Raises:
        CommandError: it ended with an exit code other than 0.
    """
    tail = deque(maxlen=TAIL_LINES)
    with open(log, "a", encoding="utf-8", errors="replace") as file:
        file.write(f"\n== {title}\n$ {' '.join(map(str, command))}\n")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=env,
            # Hands on the set-up's lock (see lock.py); Python opens everything else so that it is not inherited.
            close_fds=False,
        )

        def read():
            for line in process.stdout:
                file.write(line)
                if line.strip():
                    tail.append(line.rstrip()[:LINE_WIDTH])

        reader = threading.Thread(target=read, daemon=True)
        ticker = Ticker(title)
        reader.start()
        try:
            while reader.is_alive():
                reader.join(0.2)
                ticker.tick(tail[-1].strip() if tail else "")
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            reader.join()
            ticker.end("interrupted")
            raise
    ticker.end("done" if code == 0 else "failed")
    if code != 0:
        raise CommandError(title, code, "\n".join(tail), log)


def clean_environment() -> dict:
    """The environment without what would bend another Python's imports."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
