"""Prompts, pictures and clips of the scenes as files."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image
from torch import Tensor

from ....pusa_model.prompts.stored import pack_prompt
from ...files import write_tensors
from .. import words, world
from .scenes import SHOWN, captions

LARGER = 4  # times that pictures and clips are enlarged


def enlarged(frames: Tensor) -> list[Image.Image]:
    """Frames [T, H, W, 3] in [0, 1] as pictures."""
    side = world.SIDE * LARGER
    pictures = [Image.fromarray((frame * 255).round().byte().numpy()) for frame in frames]
    return [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]


def write_clip(path: Path, frames: list[Image.Image]) -> None:
    """Write an mp4 of nearly no loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(world.FPS), options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def write_examples(folder: Path) -> None:
    """Write what the demos are given into a folder: prompts, their words, pictures and clips."""
    prompts, inputs = folder / "models" / "prompts", folder / "input"
    for place in (prompts, inputs):
        place.mkdir(parents=True, exist_ok=True)
    for name, caption in captions().items():
        tensors, metadata = pack_prompt([[words.embed(caption)[None], {}]])
        write_tensors(prompts / name, tensors, metadata)
    (folder / "captions.json").write_text(json.dumps(captions(), indent=2) + "\n", encoding="utf-8")
    for shown in SHOWN.values():
        frames = enlarged(shown.scene.render())
        for name, number in shown.pictures.items():
            frames[number].save(inputs / f"{name}.png")
        for name, part in shown.clips.items():
            write_clip(inputs / f"{name}.mp4", frames[part])
