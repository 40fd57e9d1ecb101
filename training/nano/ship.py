"""The files of assets/nano, from the results of the other steps: models, stored prompts, pictures and clips.

Run as `python -m training.nano ship VAE.safetensors BASE.safetensors LORA.safetensors`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image
from torch import Tensor

from ...hosting.process import ROOT
from ...pusa_model.prompts.stored import pack_prompt
from ..files import write_tensors
from . import words, world

FOLDER = ROOT / "assets" / "nano"
PLACES = {
    "vae": "models/vae/pusa_nano_vae.safetensors",
    "base": "models/diffusion_models/pusa_nano_wan.safetensors",
    "lora": "models/loras/pusa_nano_lora.safetensors",
}
LARGER = 4  # times that pictures and clips are enlarged
EXAMPLE = 198  # held-out scene that the examples come from
PICTURES = (0, 16, 32)
WAYS = ("right", "down", "left", "up")  # that the thing of the example goes in further prompts, for a clip of many hops
CLIPS = {"begins": slice(0, 13), "ends": slice(24, 33)}


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


def main(arguments: list[str]) -> int:
    """Write everything."""
    for source, place in zip(arguments, PLACES.values(), strict=True):
        (FOLDER / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, FOLDER / place)
    scene = world.scene(EXAMPLE, "held-out", things=1)
    (FOLDER / "models" / "prompts").mkdir(exist_ok=True)
    (thing,) = scene.things
    ways = {way: replace(scene, things=(replace(thing, motion=f"moves {way}"),)).caption for way in WAYS}
    for name, caption in {"positive": scene.caption, "negative": "", **ways}.items():
        tensors, metadata = pack_prompt([[words.embed(caption)[None], {}]])
        write_tensors(FOLDER / f"models/prompts/nano_{name}.safetensors", tensors, metadata)
    frames = enlarged(scene.render())
    (FOLDER / "input").mkdir(exist_ok=True)
    for number in PICTURES:
        frames[number].save(FOLDER / f"input/nano_{number:02}.png")
    for name, part in CLIPS.items():
        write_clip(FOLDER / f"input/nano_{name}.mp4", frames[part])
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{FOLDER.relative_to(ROOT)}: {size / 1e6:.1f} MB, the example: {scene.caption}")
    return 0
