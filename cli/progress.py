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
        self.pace = Pace()

    def __call__(self, progress: Progress) -> None:
        """Show how far a prompt is."""
        self.pace.see(progress)
        self.show(progress.fraction, step_text(progress, self.pace))

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
        self.running: dict[str, tuple] = {}

    def step(self, name: str, progress: Progress, pace: "Pace") -> None:
        """A job went on."""
        self.running[name] = progress, pace
        if self.live:
            fraction = (self.done + sum(at.fraction for at, _ in self.running.values())) / self.total
            jobs = ", ".join(f"{name}: {step_text(*at)}" for name, at in self.running.items())
            self.show(fraction, f"{self.done}/{self.total} done  {jobs}")
        else:
            self.show(progress.fraction, f"{name}: {step_text(progress, pace)}")

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


class Pace:
    """How long the steps of a sampler take.

    Attributes:
        seconds: of a step; None before two are done.
    """

    def __init__(self):
        self.began: dict[str, tuple] = {}
        self.seconds: float | None = None

    def see(self, progress: Progress, now: float | None = None) -> None:
        """Note a step; the first one does not count, for models are loaded before it ends. `now` is in seconds."""
        if progress.weight == 1 or progress.value < 1:
            return
        now = time.monotonic() if now is None else now
        value, at = self.began.setdefault(progress.node_id, (progress.value, now))
        if progress.value > value:
            self.seconds = (now - at) / (progress.value - value)


def step_text(progress: Progress, pace: Pace) -> str:
    """The node at work, its steps, and how long the steps that are left take."""
    count = f"{progress.value:.0f}/{progress.maximum:.0f}"
    if progress.maximum <= 1:  # so does a sampler begin
        return progress.title
    if progress.weight == 1:
        return f"{progress.title} {count}"
    text, left = f"{progress.title}: step {count}", progress.maximum - progress.value
    return f"{text}, about {duration(left * pace.seconds)} left" if pace.seconds is not None and left else text


def duration(seconds: float) -> str:
    """A time in words, as exact as an estimate is: 40 s, 4 min, 2.5 h."""
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
