"""The files of assets/nano, from the results of the other steps: models, stored prompts, pictures and clips.

Run as `python -m training.nano ship VAE.safetensors BASE.safetensors LORA.safetensors`.
"""

from __future__ import annotations

import shutil
from functools import partial

from ...hosting.process import ROOT
from ...pusa_model.storage.files import write_whole
from .examples.files import write_examples

FOLDER = ROOT / "assets" / "nano"
PLACES = {
    "vae": "models/vae/pusa_nano_vae.safetensors",
    "base": "models/diffusion_models/pusa_nano_wan.safetensors",
    "lora": "models/loras/pusa_nano_lora.safetensors",
}


def main(arguments: list[str]) -> int:
    """Write everything."""
    for source, place in zip(arguments, PLACES.values(), strict=True):
        with open(source, "rb") as file:  # a file like any other: a copy would have the mode of what was there
            write_whole(FOLDER / place, partial(shutil.copyfileobj, file))
    write_examples(FOLDER)
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{FOLDER.relative_to(ROOT)}: {size / 1e6:.1f} MB")
    return 0
