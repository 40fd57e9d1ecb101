"""What the embedded model can do, on combinations of colour, shape and motion that it was not trained on.

Every row is over as many clips, from the same seeds. What a clip shows is measured
from its pixels (training/nano/measure.py), because the world that it comes from is known.
"""

import argparse
import sys
import time
from pathlib import Path

from hosting.process import ROOT, pack_module, start_comfyui

STRENGTH = 1.4  # of the LoRA
MOVING = ("moves right", "moves left", "moves up", "moves down", "bounces", "circles", "stops")
RAMP = (0.0, 0.3, 0.4, 0.5)
FOLDER = ROOT / "assets" / "nano"
HEAD = """\
# What the embedded model can do

Printed by `python dev.py bench quality`: {clips} clips a row, on the combinations of colour, shape and motion that were not
trained, scenes 0 and following of the held-out split. Where a row says nothing else: {setting.steps} steps, cfg {setting.cfg:g},
shift {setting.shift:g}, euler, seed {setting.seed}, LoRA {strength:g}. *All three*: colour, shape and motion, measured
in the pixels.
"""


def percent(shares: dict) -> list:
    return [f"{100 * shares[word]:.1f} %" for word in ("colour", "shape", "motion", "all")]


def reconstruction(bench) -> list:
    found = bench.vae.reconstruction(bench.codec.network, bench.count)
    return [["VAE", f"{found.mean():.2f} dB", f"{found.min():.2f} dB"]]


def text_to_video(bench) -> list:
    task = bench.evaluate.Task(bench.codec, bench.count)
    rows = [["the true clips", *percent(bench.evaluate.agreement(task.scenes, task.videos))]]
    for name, strength in (("base", 0.0), ("base + LoRA 1.0", 1.0), ("base + LoRA 1.4", 1.4)):
        videos = bench.codec.decode(bench.model(strength).clips(task.scenes, None, bench.setting))
        rows.append([name, *percent(bench.evaluate.agreement(task.scenes, videos))])
    return rows


def image_to_video(bench) -> list:
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    conditions = task.keyframes([0], [0.0], "still")
    pictures = bench.codec.decode(conditions(range(bench.count)).frames)[:, 0]
    rows = []
    for name, strength in ((f"LoRA {STRENGTH:g}", STRENGTH), ("no LoRA", 0.0)):
        latents = bench.model(strength).clips(task.scenes, conditions, bench.setting)
        exact = (latents[:, :, :1] == conditions(range(bench.count)).frames).all().item()
        videos = bench.codec.decode(latents)
        first = f"{bench.evaluate.psnr(videos[:, 0], pictures):.0f} dB"
        rows.append([name, "the same bits" if exact else "other", first, *percent(bench.evaluate.agreement(task.scenes, videos))])
    return rows


def pictures_in_time(bench) -> list:
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    rows = []
    for what, frames in (("start-end", (0, 32)), ("3 keyframes", (0, 16, 32))):
        for mode in ("still", "causal"):
            conditions = task.keyframes(frames, [0.0] * len(frames), mode)
            for name, strength in ((f"LoRA {STRENGTH:g}", STRENGTH), ("no LoRA", 0.0)):
                videos = bench.codec.decode(bench.model(strength).clips(task.scenes, conditions, bench.setting))
                at = [f"{bench.evaluate.psnr(videos[:, frame], task.videos[:, frame]):.1f}" for frame in frames[1:]]
                jump = max(bench.evaluate.flash(videos, frame) for frame in frames[1:])
                shares = bench.evaluate.agreement(task.scenes, videos)
                whole = f"{bench.evaluate.psnr(videos, task.videos):.1f} dB"
                rows.append([what, mode, name, " / ".join(at) + " dB", f"{jump:.1f}", whole, f"{100 * shares['all']:.1f} %"])
    return rows


def extension(bench) -> list:
    task = bench.evaluate.Task(bench.codec, bench.count, things=1, motions=MOVING)
    rows = []
    for ramp in (RAMP, (0.0,) * 4):
        conditions = task.beginning(ramp)
        for name, strength in ((f"LoRA {STRENGTH:g}", STRENGTH), ("no LoRA", 0.0)):
            videos = bench.codec.decode(bench.model(strength).clips(task.scenes, conditions, bench.setting))
            errors = bench.evaluate.place_errors(task.scenes, videos)
            told = [f"{error:.2f} px, {still / error:.1f}x" for error, still in errors.values()]
            rows.append([", ".join(map(str, ramp)), name, *told])
    return rows


def settings(bench) -> list:
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

    return [
        *(row(f"{steps} steps", steps=steps) for steps in (2, 4, 6, 10, 20)),
        *(row(f"strength {strength}", strength=strength) for strength in (1.0, 1.4, 1.8)),
        *(row(f"noise {multiplier}", multiplier=multiplier) for multiplier in (0.0, 0.2, 0.5)),
    ]


SHARES = ["colour", "shape", "motion", "all three"]
TABLES = {
    "vae": ("VAE: PSNR of clips of 33 frames", reconstruction, ["", "mean", "least"]),
    "t2v": ("Text to video: as the prompt says", text_to_video, ["", *SHARES]),
    "i2v": ("Image to video, noise 0", image_to_video, ["", "first latent", "first frame", *SHARES]),
    "keyframes": (
        "Start-end and three keyframes, noise 0: PSNR at the later pictures, flash, PSNR of all frames",
        pictures_in_time,
        ["task", "encode", "", "pictures", "flash", "true clip", "all three"],
    ),
    "extension": (
        "Extension from 13 frames: distance from the true place, and how many times nearer than the last frame",
        extension,
        ["noise", "", "8 frames on", "16 frames on"],
    ),
    "settings": ("Image to video by setting", settings, ["", "first frame", *SHARES]),
}


class Bench:
    """The models, loaded once."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.count, self._models = folder, count, {}
        self.evaluate, self.vae = pack_module("training.nano.quality.evaluate"), pack_module("training.nano.vae")
        self.codec, self.setting = self.evaluate.Codec(folder), self.evaluate.Setting()

    def model(self, strength: float):
        if strength not in self._models:
            self._models[strength] = self.evaluate.Model(self.folder, strength)
        return self._models[strength]


def table(title: str, heads: list, rows: list) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join([f"## {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def main(argv: list) -> int:
    top = argparse.ArgumentParser(prog="dev.py bench quality", description=__doc__.splitlines()[0], allow_abbrev=False)
    top.add_argument("--clips", type=int, default=200, help="clips per row (default 200)")
    top.add_argument("--only", choices=TABLES, action="append", help="this table; give it again for another (default all)")
    top.add_argument("--models", type=Path, default=FOLDER, help="folder of the model files (default assets/nano)")
    top.add_argument("--write", action="store_true", help="keep the tables in FIGURES.md in that folder")
    arguments = top.parse_args(argv)
    start_comfyui()
    bench = Bench(arguments.models, arguments.clips)
    tables = []
    for name in arguments.only or TABLES:
        title, make, heads = TABLES[name]
        began = time.monotonic()
        tables.append(table(title, heads, make(bench)))
        print(tables[-1], flush=True)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if arguments.write:
        head = HEAD.format(clips=arguments.clips, setting=bench.setting, strength=STRENGTH)
        (arguments.models / "FIGURES.md").write_text("\n".join([head, *tables]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
