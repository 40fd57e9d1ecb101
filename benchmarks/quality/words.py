"""The VAE, words alone, and a picture by setting: what a clip shows of what was asked for, and how clean its shapes are."""

import torch

from ..measure.report import Table
from .bench import SHARES, STRENGTH, Bench, percent

BEGUN = 4  # frame behind the given one and its latent frame


def reconstruction(bench: Bench) -> Table:
    """Clips through the VAE and back."""
    found = bench.vae.reconstruction(bench.codec.network, bench.count)
    rows = [["VAE", f"{found.mean():.2f} dB", f"{found.min():.2f} dB"]]
    return bench.table("VAE: PSNR of clips of 33 frames", ["", "mean", "least"], rows)


def text_to_video(bench: Bench) -> Table:
    """With the LoRA and without."""
    task = bench.evaluate.Task(bench.codec, bench.count)
    rows = [["the true clips", *percent(bench.evaluate.agreement(task.scenes, task.videos))]]
    for name, strength in (("base", 0.0), ("base + LoRA 1.0", 1.0), ("base + LoRA 1.4", 1.4)):
        videos = bench.codec.decode(bench.model(strength).clips(task.scenes, None, bench.setting))
        rows.append([name, *percent(bench.evaluate.agreement(task.scenes, videos))])
    return bench.table("Text to video: as the prompt says", ["", *SHARES], rows)


def settings(bench: Bench) -> Table:
    """One setting at a time."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    known = {}

    def row(name, steps=bench.setting.steps, strength=STRENGTH, multiplier=0.0):
        chosen = (steps, strength, multiplier)
        if chosen not in known:
            conditions = task.keyframes([0], [multiplier], "still")
            latents = bench.model(strength).clips(task.scenes, conditions, bench.evaluate.Setting(steps=steps))
            videos = bench.codec.decode(latents)
            first = bench.evaluate.psnr(videos[:, 0], task.videos[:, 0])
            known[chosen] = [f"{first:.1f} dB", *percent(bench.evaluate.agreement(task.scenes, videos))]
        return [name, *known[chosen]]

    rows = [
        *(row(f"{steps} steps", steps=steps) for steps in (2, 4, 6, 10, 20)),
        *(row(f"strength {strength}", strength=strength) for strength in (1.0, 1.4, 1.8)),
        *(row(f"noise {multiplier}", multiplier=multiplier) for multiplier in (0.0, 0.2, 0.5)),
    ]
    return bench.table("Image to video by setting", ["", "first frame", *SHARES], rows)


OUTLINES = {
    "10 steps, cfg 3, LoRA 1.4": {},
    "cfg 1": {"cfg": 1.0},
    "cfg 1.5": {"cfg": 1.5},
    "cfg 2": {"cfg": 2.0},
    "20 steps": {"steps": 20},
    "LoRA 1.0": {"strength": 1.0},
}


def outlines(bench: Bench) -> Table:
    """How clean the shapes are, and where they lose it."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    given = task.keyframes([0], [0.0], "still")

    def row(name: str, videos) -> list[str]:
        found = bench.evaluate.outlines(task.scenes, videos[:, BEGUN:])
        return [name, f"{found.mean():.4f}", f"{found.quantile(0.1):.4f}"]

    latents = torch.cat([bench.codec.vae.encode(video) for video in task.videos])
    rows = [row("the true clips", task.videos), row("through the VAE and back", bench.codec.decode(latents))]
    for name, changes in OUTLINES.items():
        strength = changes.get("strength", STRENGTH)
        setting = {"steps": bench.setting.steps} | {key: value for key, value in changes.items() if key != "strength"}
        made = bench.model(strength).clips(task.scenes, given, bench.evaluate.Setting(**setting))
        rows.append(row(name, bench.codec.decode(made)))
    note = (
        "Intersection over union of the thing in a frame and the best drawing of its shape, frame 4 and following. What the VAE "
        "loses stays lost, however a clip is sampled. The third row is the setting of the other tables; each below changes it."
    )
    return bench.table("Image to video: how clean shapes are", ["", "mean of the frames", "a tenth is below"], rows, note)
