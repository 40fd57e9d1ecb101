"""`dev.py demo` from its command line to video files that play, and show what was asked for."""

import re
import subprocess
import sys
from pathlib import Path

import av
import host_comfyui
import pytest
import torch
from PIL import Image

from cli.graph.demo import TASKS

host_comfyui.load_pack()

from pusa.training.nano import ship, world
from pusa.training.nano.quality import measure

ROOT = host_comfyui.ROOT


@pytest.fixture(scope="module")
def videos():
    """Paths by task, of one run of all."""
    command = [sys.executable, "dev.py", "demo", "--task", "all"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"Pusa(KSampler|ExtendVideo|Transition) 10/10", result.stdout)) == len(TASKS)
    paths = [Path(line.removeprefix("Video: ")) for line in result.stdout.splitlines() if line.startswith("Video: ")]
    yield dict(zip(TASKS, paths, strict=True))
    for path in paths:
        path.unlink()
        path.with_suffix(".png").unlink()


@pytest.mark.parametrize("task", TASKS)
def test_the_demo_shows_what_was_asked_for(videos, task):
    with av.open(videos[task]) as video:
        frames = [frame.to_image() for frame in video.decode(video=0)]
        assert (len(frames), frames[0].size) == (28 if task == "loop" else 33, (256, 256))
        assert "prompt" in video.metadata
    small = [frame.resize((world.SIDE, world.SIDE), Image.Resampling.BOX) for frame in frames]
    clip = torch.stack([torch.frombuffer(bytearray(frame.tobytes()), dtype=torch.uint8) for frame in small])
    (seen,) = measure.look(clip.view(-1, world.SIDE, world.SIDE, 3) / 255)
    (thing,) = world.scene(ship.EXAMPLE, "held-out", things=1).things
    assert (seen.colour, seen.shape) == (thing.colour, thing.shape)


@pytest.mark.parametrize("task", TASKS)
def test_a_contact_sheet_lies_beside_the_video(videos, task):
    sheet = Image.open(videos[task].with_suffix(".png"))
    assert sheet.size == (9 * 260 - 4, 272)
    assert len(sheet.getcolors(2**24)) > 100


def test_the_embedded_model_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in ship.FOLDER.rglob("*") if file.is_file()) < 15e6
