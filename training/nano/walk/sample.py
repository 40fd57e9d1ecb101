"""Clips made from words alone, with the embedded LoRA and with another one, side by side.

Run as `python -m training.nano walk.sample LORA.safetensors PICTURE.png`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ....pusa_model.lora.load import load_lora
from .. import world
from ..quality import evaluate
from ..ship import FOLDER, PLACES

COUNT, SHOWN, GAP = 4, 9, 4  # scenes; frames of each that are shown; pixels between them


def colourfulness(videos: Tensor) -> float:
    """Mean distance of the channels of videos [N, T, H, W, 3] from their mean: 0 in black and white."""
    return (videos - videos.mean(-1, keepdim=True)).abs().mean().item()


def sampled(lora: Path, count: int = COUNT, steps: int = 10) -> Tensor:
    """Videos [count, 33, 64, 64, 3] in [0, 1] of held-out scenes, from their captions."""
    codec = evaluate.Codec(FOLDER)
    scenes = evaluate.Task(codec, count, things=1).scenes
    model = evaluate.Model(FOLDER)
    model.model = load_lora(model.model, str(lora), 1.0, warn=lambda text: None)
    return codec.decode(model.clips(scenes, None, evaluate.Setting(steps=steps)))


def main(arguments: list[str]) -> int:
    """Write a picture: a row for each scene and LoRA, the embedded one above the other."""
    lora, picture = map(Path, arguments)
    pairs = [sampled(FOLDER / PLACES["lora"]), sampled(lora)]
    rows = [video[torch.linspace(0, len(video) - 1, SHOWN).round().long()] for both in zip(*pairs) for video in both]
    side = world.SIDE + GAP
    sheet = Image.new("RGB", (SHOWN * side - GAP, len(rows) * side - GAP), "white")
    for down, row in enumerate(rows):
        for across, frame in enumerate(row):
            sheet.paste(Image.fromarray((frame * 255).round().byte().numpy()), (across * side, down * side))
    sheet.save(picture)
    before, after = map(colourfulness, pairs)
    print(f"{picture}: colour {before:.3f} with the embedded LoRA, {after:.3f} with {lora.name}")
    return 0
