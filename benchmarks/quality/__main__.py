"""What the embedded model can do, on combinations of colour, shape and motion that it was not trained on.

What a clip shows is measured from its pixels (training/nano/quality/measure.py), because the world that it comes from is known.
With `--write` a table takes the place of its older one in FIGURES.md as soon as it is done; the others stay.
"""

import argparse
import sys
import time
from pathlib import Path

from cli.flags.values import number
from hosting.process import has_gpu, start_comfyui

from ..measure.report import hardware, with_part
from . import given, renoise, rolling, schedules, tuned, words
from .bench import FOLDER, STRENGTH, Bench

HEAD = f"""\
# What the embedded model can do

Printed by `python dev.py bench quality`, on the combinations of colour, shape and motion that were not trained, scenes 0 and
following of the held-out split. Where a row says nothing else: 10 steps, cfg 3, shift 5, euler, seed 0, LoRA {STRENGTH:g}.
*All three*: colour, shape and motion, measured in the pixels."""
TABLES = {
    "vae": words.reconstruction,
    "t2v": words.text_to_video,
    "i2v": given.image_to_video,
    "keyframes": given.pictures_in_time,
    "extension": given.extension,
    "settings": words.settings,
    "outlines": words.outlines,
    "t2v_schedules": schedules.words_by_schedule,
    "i2v_schedules": schedules.picture_by_schedule,
    "hold": schedules.waiting,
    "renoise": renoise.one_window,
    "renoise_windows": renoise.many_windows,
    "rolling": rolling.rolling,
    "tuned": tuned.trained_further,
}


def main(argv: list) -> int:
    """Print the tables; returns 1 if a figure is above its limit."""
    top = argparse.ArgumentParser(prog="dev.py bench quality", description=__doc__.splitlines()[0], allow_abbrev=False)
    top.add_argument("--clips", type=number(int, 1, 100_000), default=200, help="clips per row (default 200; fewer of long clips)")
    top.add_argument("--only", choices=TABLES, action="append", help="this table; give it again for another (default all)")
    top.add_argument("--models", type=Path, default=FOLDER, help="folder of the model files (default assets/nano)")
    top.add_argument("--write", action="store_true", help="keep the tables in FIGURES.md in that folder")
    arguments = top.parse_args(argv)
    start_comfyui(cpu=not has_gpu())
    import comfy.utils
    import torch

    comfy.utils.set_progress_bar_enabled(False)
    bench, page, kept = Bench(arguments.models, arguments.clips), arguments.models / "FIGURES.md", True
    for name in arguments.only or TABLES:
        began = time.monotonic()
        with torch.inference_mode():
            table = TABLES[name](bench)
        text = f"*{hardware()}*\n\n{table}"
        print(text, flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        kept = kept and all(limit.kept for limit in table.limits)
        if arguments.write:
            written = page.read_text(encoding="utf-8") if page.exists() else ""
            page.write_text(with_part(written, name, text, HEAD, TABLES), encoding="utf-8")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
