"""Twenty captioned clips of the small world in black and white, which the embedded model has never seen.

Run as `python -m training.nano walk.clips FOLDER`.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .. import world
from ..examples.files import write_clip

COUNT = 20
FIRST = 3_000_000  # seed of the first scene; the embedded model was trained on others
LUMA = (0.299, 0.587, 0.114)


def in_grey(frames: Tensor) -> Tensor:
    """Frames [T, H, W, 3] without their colours."""
    return (frames * frames.new_tensor(LUMA)).sum(-1, keepdim=True).expand_as(frames)


def main(arguments: list[str]) -> int:
    """Write the clips, and a text file beside each."""
    from PIL import Image

    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(COUNT):
        scene = world.scene(FIRST + number)
        pictures = [Image.fromarray((frame * 255).round().byte().numpy()) for frame in in_grey(scene.render())]
        write_clip(folder / f"{number:02}.mp4", pictures)
        (folder / f"{number:02}.txt").write_text(scene.caption, encoding="utf-8")
    print(f"{folder}: {COUNT} clips in black and white; the last: {scene.caption}")
    return 0
