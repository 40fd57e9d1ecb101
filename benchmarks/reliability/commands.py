"""The command line killed in the middle of a folder of jobs: the next run makes what is missing and nothing twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from hosting.process import ROOT

from .host import Bench
from .kills import files, leftovers
from .tally import Tally

SMALL = ("--num_inference_steps", "2", "--num_frames", "9", "--width", "32", "--height", "32")
JOBS = 3
UNDISTURBED = 10**6  # seed of the run that says how long the work takes


def started(bench: Bench, pictures: Path, place: Path, seed: int) -> subprocess.Popen:
    """`python -m cli i2v` on a folder of pictures; another seed makes other videos, so that the server works too."""
    command = ["-m", "cli", "i2v", "--model", "nano", "--inputs", pictures, "--output_dir", place, "--server", bench.server.url]
    return subprocess.Popen(
        [sys.executable, *map(str, command), "--seed", str(seed), *SMALL], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def done(place: Path) -> dict[str, int]:
    """Videos with a record beside them, which are finished jobs, and the number that the disk knows each by."""
    videos = {name: path for name, path in files(place).items() if path.suffix == ".mp4"}
    return {name: path.stat().st_ino for name, path in videos.items() if path.with_suffix(".json").exists()}


def frames(path: Path) -> int:
    """How many frames a video has; 0 if it cannot be read."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except OSError:
        return 0


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Kill the command line once for each number and start it again."""
    with tempfile.TemporaryDirectory(prefix="pusa-commands-") as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for index, name in enumerate(("nano_00.png", "nano_16.png", "nano_32.png")[:JOBS]):
            shutil.copy(ROOT / "assets" / "nano" / "input" / name, pictures / f"{index}.png")
            (pictures / f"{index}.txt").write_text("nano_positive.safetensors")
        began = time.monotonic()
        process = started(bench, pictures, Path(folder) / "undisturbed", UNDISTURBED)
        printed = process.communicate(timeout=300)[0]
        seconds = time.monotonic() - began
        if process.returncode:
            tally.fault("crash", -1, f"it does not run without a kill:\n{printed}")
            return
        kept = 0
        for number in numbers:
            place = Path(folder) / f"item{number}"
            process = started(bench, pictures, place, number)
            time.sleep(tally.random(number).uniform(0.3, seconds))
            process.kill()
            process.communicate()
            tally.tried += 1
            kept += _judge(bench, tally, number, pictures, place)
        tally.notes.append(f"{kept} finished parts were there after the kills")


def _judge(bench: Bench, tally: Tally, number: int, pictures: Path, place: Path) -> int:
    before = done(place)
    process = started(bench, pictures, place, number)
    printed = process.communicate(timeout=300)[0]
    if process.returncode:
        tally.fault("crash", number, f"the next run fails:\n{printed[-1500:]}")
    after = done(place)
    if again := [name for name in before if after.get(name) != before[name]]:
        tally.fault("lost", number, f"made again: {again}")
    wrong = [name for name in (f"{index}.mp4" for index in range(JOBS)) if frames(place / name) != 9]
    if wrong:
        tally.fault("silent", number, f"no video of 9 frames: {wrong}")
    if left := leftovers(place):
        tally.fault("lost", number, f"left over after the next run: {left}")
    return len(before)
