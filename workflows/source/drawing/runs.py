"""Pictures of help pages that show clips of the embedded model in the middle of their runs."""

import asyncio
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cli.client import ComfyClient
from cli.demo.given import given_of
from cli.demo.sheets import DARK, ORANGE
from cli.demo.tasks import demo_graph

RUNS = {
    "PusaKSampler/steps.jpg": ("i2v", (2, 6, 8, 9, 10)),
    "PusaSchedule/staircase.jpg": ("forcing", (2, 6, 10, 14, 18, 22, 26)),
}
"""The demo of each picture, and the steps after which it is shown."""
FRAMES = range(0, 33, 4)  # one a latent frame
CELL, GAP, LABEL, TOP = 48, 3, 80, 26  # pixels
LOADERS = {"PusaModelLoader", "VAELoader", "PusaLoadPrompt"}
KEPT = {*LOADERS, "EmptyHunyuanLatentVideo", "LoadImage", "PusaKeyframes", "PusaSchedule"}


def cut_short(graph: dict, steps: tuple, folder: str) -> dict:
    """A graph in API format that saves the clip of ``graph`` as it is after each of ``steps``.

    Its KSampler (Pusa) becomes Apply Condition (Pusa), a guider and a SamplerCustomAdvanced for each of ``steps``, with the
    sigmas cut there. Pictures have the step as file name.
    """
    (sampler,) = [node["inputs"] for node in graph.values() if node["class_type"] == "PusaKSampler"]
    (vae,) = [key for key, node in graph.items() if node["class_type"] == "VAELoader"]
    made = {key: node for key, node in graph.items() if node["class_type"] in KEPT}

    def add(key: str, kind: str, **inputs) -> list:
        made[key] = {"class_type": kind, "inputs": inputs}
        return [key, 0]

    latent, shift, condition = (sampler[name] for name in ("latent_image", "shift", "condition"))
    model = add("condition", "PusaApplyCondition", model=sampler["model"], condition=condition, latent=latent, shift=shift)
    words = {name: sampler[name] for name in ("positive", "negative", "cfg")}
    guider = add("guider", "CFGGuider", model=model, **words)
    noise = add("noise", "RandomNoise", noise_seed=sampler["seed"])
    euler = add("sampler", "KSamplerSelect", sampler_name=sampler["sampler_name"])
    levels = [condition[0], 1]
    if graph[condition[0]]["class_type"] != "PusaSchedule":
        levels = add("levels", "PusaScheduler", steps=sampler["steps"], shift=shift, denoise=sampler["denoise"])
    for step in steps:
        sigmas = add(f"sigmas {step}", "SplitSigmas", sigmas=levels, step=step)
        run = dict(noise=noise, guider=guider, sampler=euler, sigmas=sigmas, latent_image=["condition", 1])
        samples = add(f"run {step}", "SamplerCustomAdvanced", **run)
        images = add(f"frames {step}", "VAEDecode", samples=samples, vae=[vae, 0])
        add(f"save {step}", "SaveImage", images=images, filename_prefix=f"{folder}/{step}")
    return made


def contact_sheet(rows: dict[int, list[Image.Image]], given: set[int]) -> Image.Image:
    """A row for each step, with the frames of a clip in that step; ``given`` ones are framed."""
    side, font = CELL + GAP, ImageFont.load_default(14)
    made = Image.new("RGB", (LABEL + len(FRAMES) * side, TOP + len(rows) * side), DARK)
    draw = ImageDraw.Draw(made)
    for column, number in enumerate(FRAMES):
        draw.text((LABEL + column * side + CELL / 2, 6), str(number), font=font, fill="white", anchor="ma")
    for row, (step, frames) in enumerate(rows.items()):
        y = TOP + row * side
        draw.text((10, y + CELL / 2), f"step {step}", font=font, fill="white", anchor="lm")
        for column, number in enumerate(FRAMES):
            x = LABEL + column * side
            made.paste(frames[number].resize((CELL, CELL), Image.Resampling.BICUBIC), (x, y))
            if number in given:
                draw.rectangle((x - 1, y - 1, x + CELL, y + CELL), outline=ORANGE, width=2)
    return made


def draw_runs(url: str, base: Path, folder: Path) -> None:
    """Write the pictures.

    Args:
        url: of a ComfyUI with the pack.
        base: its base folder.
        folder: root of the repository.
    """

    async def run(graph: dict) -> None:
        async with ComfyClient(url) as client:
            await client.run(graph)

    for file, (demo, steps) in RUNS.items():
        graph = demo_graph(demo)
        asyncio.run(run(cut_short(graph, steps, demo)))
        made = {step: sorted((base / "output" / demo).glob(f"{step}_*.png")) for step in steps}
        rows = {step: [Image.open(path).convert("RGB") for path in paths] for step, paths in made.items()}
        given = given_of(graph, FRAMES[-1] + 1, base / "input")
        contact_sheet(rows, given).save(folder / "web" / "docs" / file, quality=64, optimize=True)
