"""Progress on a terminal or in a log."""

import shutil
import sys
import time

from .track import Progress


class ProgressBar:
    """A bar that is redrawn on a terminal, and a line per step elsewhere."""

    width = 28

    def __init__(self):
        self.started = time.monotonic()
        self.live, self.drawn = sys.stdout.isatty(), False

    def __call__(self, progress: Progress) -> None:
        """Show how far a prompt is."""
        self.show(progress.fraction, step_text(progress))

    def show(self, fraction: float, text: str) -> None:
        """Show a share in [0, 1] and what it is about."""
        text = f"{fraction:4.0%}  {text}"
        if not self.live:
            print(f"  {text}", flush=True)
            return
        filled = round(fraction * self.width)
        bar = "#" * filled + "." * (self.width - filled)
        self._line(f"  [{bar}] {text}  {time.monotonic() - self.started:.0f} s")

    def end(self) -> None:
        """Leave the line."""
        if self.drawn:
            print(flush=True)

    def _line(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        print("\r" + line[:columns].ljust(columns), end="", flush=True)
        self.drawn = True


class Board(ProgressBar):
    """Several jobs at once: one bar for all on a terminal, and a line per step and job elsewhere."""

    def __init__(self, total: int):
        super().__init__()
        self.total, self.done = total, 0
        self.running: dict[str, Progress] = {}

    def step(self, name: str, progress: Progress) -> None:
        """A job went on."""
        self.running[name] = progress
        if self.live:
            fraction = (self.done + sum(at.fraction for at in self.running.values())) / self.total
            jobs = ", ".join(f"{name}: {step_text(at)}" for name, at in self.running.items())
            self.show(fraction, f"{self.done}/{self.total} done  {jobs}")
        else:
            self.show(progress.fraction, f"{name}: {step_text(progress)}")

    def leave(self, name: str, settled: bool) -> None:
        """A job no longer runs; it is done, failed, or waits for a server."""
        self.running.pop(name, None)
        self.done += settled

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.drawn:
            self._line("")
            print("\r", end="")
            self.drawn = False
        print(text, flush=True)


def step_text(progress: Progress) -> str:
    """The node at work and its steps."""
    steps = f" {progress.value:.0f}/{progress.maximum:.0f}" if progress.maximum > 1 else ""
    return progress.node_type + steps
