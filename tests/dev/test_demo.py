"""`dev.py demo` from its command line to a video file that plays."""

import subprocess
import sys
from pathlib import Path

import av
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_makes_a_video():
    result = subprocess.run([sys.executable, "dev.py", "demo"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "PusaKSampler 10/10" in result.stdout
    path = Path(result.stdout.splitlines()[-1].removeprefix("Video: "))
    with av.open(path) as video:
        frames = list(video.decode(video=0))
        assert (len(frames), frames[0].width, frames[0].height) == (33, 64, 64)
        assert "prompt" in video.metadata
    path.unlink()


def test_the_picture_is_small_enough_to_ship():
    picture = ROOT / "assets" / "demo.png"
    assert Image.open(picture).size == (512, 512)
    assert picture.stat().st_size < 300_000
