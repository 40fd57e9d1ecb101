"""The picture of each workflow in ComfyUI's list of templates.

Graphs for Wan show what they are given, drawn by us, and noise where the model will draw; the demos show what they made.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from cli.demo.given import frames_of, given_of
from cli.demo.sheets import DARK, ORANGE

from ..graph import Graph
from .pictures import FRAMES, render

SIZE = (480, 300)
CELLS, GAP, MARGIN = 9, 6, 10
# Frames that are shown large, and frames of the strip that are given.
SHOWN = {
    "t2v": ((), ()),
    "i2v": ((0,), (0,)),
    "start_end": ((0, 80), (0, 8)),
    "keyframes": ((0, 40, 80), (0, 4, 8)),
    "timeline": ((0, 40, 80), (0, 4, 8)),
    "completion": ((0, 80), (0, 8)),
    "extension": ((16,), (0, 1)),
    "transition": ((16, 64), (0, 1, 7, 8)),
    "async": ((0,), (0,)),
    "hold": ((0,), (0,)),
    "forcing": ((), ()),
    "rolling": ((), ()),
}
LABELS = {
    "wan22_lightx2v": "Wan2.2, 4 steps", "wan22": "Wan2.2", "wan21": "Wan2.1",
    "wan22_5b": "Wan2.2 5B", "wan21_vace": "Wan2.1 VACE", "skyreels_v2_df": "SkyReels-V2 DF",
    "mochi": "Mochi 1",
}  # fmt: skip
OTHERS = {
    "any_sampler": ("i2v", "any sampler"), "prompt_files": ("t2v", "stored prompts"), "merge_lora": ("t2v", "merge a LoRA"),
    "train_lora": ("extension", "train a LoRA"),
}  # fmt: skip
FORMS = {"image_to_video": "i2v", "multi_frames": "keyframes", "video_to_video": "completion", "text_to_video": "t2v"}


def noisy(picture: Image.Image, share: float) -> Image.Image:
    """A picture under noise."""
    grain = np.random.default_rng(3).normal(96, 44, (picture.height // 3, picture.width // 3)).clip(0, 255).astype(np.uint8)
    noise = Image.fromarray(grain).resize(picture.size, Image.Resampling.BILINEAR).convert("RGB")
    return Image.blend(picture.filter(ImageFilter.GaussianBlur(4)), noise, share)


def wan_card(task: str, label: str) -> Image.Image:
    """What a graph for Wan is given: large, and on a strip of the timeline."""
    large, given = SHOWN[task]
    card = Image.new("RGB", SIZE, DARK)
    wide = (SIZE[0] - 2 * MARGIN - (CELLS - 1) * GAP) // CELLS
    cell = (wide, round(wide * 480 / 832))
    high = SIZE[1] - cell[1] - 2 * MARGIN
    card.paste(side_by_side([render(frame) for frame in large] or [noisy(render(40), 0.4)], (SIZE[0], high)))
    draw = ImageDraw.Draw(card)
    for index in range(CELLS):
        picture = render(round(index * (FRAMES - 1) / (CELLS - 1))).resize(cell, Image.Resampling.LANCZOS)
        place = (MARGIN + index * (cell[0] + GAP), high + MARGIN)
        card.paste(picture if index in given else noisy(picture, 0.8), place)
        if index in given:
            draw.rectangle((place[0] - 2, place[1] - 2, place[0] + cell[0] + 1, place[1] + cell[1] + 1), outline=ORANGE, width=2)
    badge(draw, label)
    return card


def badge(draw: ImageDraw.ImageDraw, label: str) -> None:
    """A few words on a dark ground, at the top left."""
    font = ImageFont.load_default(17)
    box = draw.textbbox((18, 14), label, font=font)
    draw.rounded_rectangle((box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6), radius=6, fill=DARK)
    draw.text((18, 14), label, font=font, fill="white")


def side_by_side(pictures: list, size: tuple) -> Image.Image:
    """Pictures in one, cut along slanted lines."""
    scale = max(size[0] / pictures[0].width, size[1] / pictures[0].height)
    larger = [p.resize((round(p.width * scale), round(p.height * scale)), Image.Resampling.LANCZOS) for p in pictures]
    top = (larger[0].height - size[1]) // 2
    fitted = [p.crop((0, top, size[0], top + size[1])) for p in larger]
    joined, slant = fitted[0], 30
    for index, picture in enumerate(fitted[1:], 1):
        mask = Image.new("L", size)
        x = size[0] * index / len(fitted)
        edge = [(x + slant, 0), (x - slant, size[1])]
        ImageDraw.Draw(mask).polygon([*edge, (size[0] + 99, size[1]), (size[0] + 99, 0)], fill=255)
        joined.paste(picture, mask=mask)
        ImageDraw.Draw(joined).line(edge, fill=DARK, width=5)
    return joined


def demo_card(video: Path, graph: dict, inputs: Path, label: str) -> Image.Image:
    """Eight frames of a video, from its first to its last, given ones framed.

    Args:
        graph: in API format.
        inputs: where the graph's clips lie.
        label: words at the top left.
    """
    frames = frames_of(video)
    given = given_of(graph, len(frames), inputs)
    card = Image.new("RGB", (4 * 116 + 16, 40 + 2 * 116 + 12), DARK)
    draw = ImageDraw.Draw(card)
    for index in range(8):
        number = round(index * (len(frames) - 1) / 7)
        near = [frame for frame in given if frame - 2 <= number < frame + 2]  # a given one in the place of its neighbour, once
        number = min(near, key=lambda frame: abs(frame - number), default=number)
        x, y = 4 + index % 4 * 120, 44 + index // 4 * 120
        card.paste(frames[number].resize((112, 112), Image.Resampling.BICUBIC), (x, y))
        if number in given:
            draw.rectangle((x - 1, y - 1, x + 112, y + 112), outline=ORANGE, width=3)
    badge(draw, label)
    return card


def wan_thumbnail(graph: Graph) -> Image.Image:
    """The thumbnail of a graph that is not run here."""
    if graph.name in OTHERS:
        return wan_card(*OTHERS[graph.name])
    if graph.name.startswith("app_"):
        (task,) = [task for task in FORMS if graph.name.endswith(task)]
        return wan_card(FORMS[task], "App, Wan2.2, 4 steps" if "wan22" in graph.name else "App, Wan2.1")
    family = max((family for family in LABELS if graph.name.startswith(family)), key=len)
    return wan_card(graph.name.removeprefix(f"{family}_"), LABELS[family])


def save(picture: Image.Image, path: Path) -> None:
    """A JPEG small enough for a list."""
    picture.save(path, quality=74, optimize=True)
