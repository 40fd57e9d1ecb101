"""`dev.py demo` from its command line to video files that play, and show what was asked for."""

import shutil
import subprocess
import sys
from pathlib import Path

import av
import host_comfyui
import pytest
import torch
from PIL import Image

from cli.demo.sheets import HEAD, HIGH, ORANGE
from cli.demo.tasks import TASKS
from devtools.places import cache_root, clone_base

host_comfyui.load_pack()

from pusa.training.nano import ship, world
from pusa.training.nano.examples.scenes import SHOWN
from pusa.training.nano.quality import measure

ROOT = host_comfyui.ROOT


@pytest.fixture(scope="module")
def videos():
    """Paths by task, of one run of all, which finds no hop of an earlier run."""
    shutil.rmtree(clone_base(cache_root()) / "user" / "__pusa" / "windows", ignore_errors=True)
    command = [sys.executable, "dev.py", "demo", "--task", "all"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(": step 10/10") == len(TASKS)
    lines = result.stdout.splitlines()
    paths = [Path(line.removeprefix("Video: ")) for line in lines if line.startswith("Video: ")]
    page = Path(lines[-1].removeprefix("All on one page: "))
    yield dict(zip([*TASKS, "page"], [*paths, page], strict=True))
    page.unlink()
    for path in paths:
        path.unlink()
        path.with_suffix(".png").unlink()


@pytest.mark.parametrize("task", TASKS)
def test_the_demo_shows_what_was_asked_for(videos, task):
    with av.open(videos[task]) as video:
        frames = [frame.to_image() for frame in video.decode(video=0)]
        assert (len(frames), frames[0].size) == (48 if task == "loop" else 33, (256, 256))
        assert "prompt" in video.metadata
    small = [frame.resize((world.SIDE, world.SIDE), Image.Resampling.BOX) for frame in frames]
    clip = torch.stack([torch.frombuffer(bytearray(frame.tobytes()), dtype=torch.uint8) for frame in small])
    things = SHOWN["positive" if task == "i2v" else task.replace("-", "_")].scene.things
    seen = measure.look(clip.view(-1, world.SIDE, world.SIDE, 3) / 255, len(things))
    assert [(each.colour, each.shape) for each in seen] == [(each.colour, each.shape) for each in things]


@pytest.mark.parametrize("task", TASKS)
def test_a_contact_sheet_lies_beside_the_video(videos, task):
    sheet = Image.open(videos[task].with_suffix(".png"))
    assert len(sheet.getcolors(2**24)) > 100
    framed = dict(map(reversed, sheet.getcolors(2**24)))[ORANGE]
    assert framed > 2000 if task != "t2v" else framed < 2000  # a given frame has a line around it


def test_all_are_on_one_page(videos):
    sheets = [Image.open(videos[task].with_suffix(".png")) for task in TASKS]
    page = Image.open(videos["page"])
    assert page.size == (sheets[0].width, HEAD + len(TASKS) * HIGH)
    for number, sheet in enumerate(sheets):
        row = page.crop((0, HEAD + number * HIGH, page.width, HEAD + (number + 1) * HIGH))
        assert row.tobytes() == sheet.crop((0, HEAD, sheet.width, HEAD + HIGH)).tobytes()


def test_the_embedded_model_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in ship.FOLDER.rglob("*") if file.is_file()) < 15e6
