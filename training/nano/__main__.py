"""The recipe of the embedded model, step by step: `python -m training.nano STEP ...`."""

import sys

from cli.host import pack_module, start_comfyui

STEPS = ("vae", "latents", "base", "lora", "ship")

if __name__ == "__main__":
    step, *arguments = sys.argv[1:] or [""]
    if step not in STEPS:
        sys.exit(f"Error: the steps are {', '.join(STEPS)}.")
    start_comfyui()
    sys.exit(pack_module(f"training.nano.{step}").main(arguments))
