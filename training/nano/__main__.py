"""The recipe of the embedded model, and a walk through training on it: `python -m training.nano STEP FILES`."""

import sys

from hosting.process import pack_module, start_comfyui

STEPS = {
    "vae": ("VAE",),
    "latents": ("VAE", "LATENTS"),
    "base": ("LATENTS", "BASE"),
    "lora": ("LATENTS", "BASE", "LORA"),
    "ship": ("VAE", "BASE", "LORA"),
    "walk.clips": ("FOLDER",),
    "walk.sample": ("LORA", "PICTURE"),
}


def main(step: str = "", *files: str) -> int:
    """Run one step; the last of its files is the one it writes (`ship` writes assets/nano)."""
    if len(STEPS.get(step, ())) != len(files) or not files:
        lines = [f"  python -m training.nano {name} {' '.join(wanted)}" for name, wanted in STEPS.items()]
        print("\n".join(["Error: give a step and its files:", *lines]), file=sys.stderr)
        return 1
    start_comfyui()
    return pack_module(f"training.nano.{step}").main(list(files))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
