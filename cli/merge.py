"""LoRAs merged into a model file, from the shell. Started by `python -m cli.merge`."""

import argparse
import signal
import sys
import time

from hosting.process import has_gpu, pack_module, start_comfyui

DESCRIPTION = """\
Merge LoRAs into a Wan model file. The output has the format of the base, is written tensor by tensor and holds in its
metadata what was merged. The arithmetic is that of ComfyUI's patcher in float32: on the CPU the result is the same bit for
bit, on a GPU within the rounding to the format of the base."""
EPILOG = """\
environment variables:
  COMFYUI_PATH     the ComfyUI folder, the one with main.py

examples:
  python -m cli.merge wan2.1_t2v_14B_bf16.safetensors wan_pusa.safetensors --lora pusa_v1.pt:1.4
  python -m cli.merge base.safetensors out.safetensors --lora pusa_high.safetensors:1.5 --lora lightx2v_high.safetensors:1"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m cli.merge",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("base", metavar="BASE", help="model file: .safetensors in bf16, fp16, fp32, fp8 or scaled fp8")
    top.add_argument("output", metavar="OUTPUT", help="file to write, .safetensors")
    top.add_argument(
        "--lora",
        metavar="FILE[:STRENGTH]",
        type=lora,
        action="append",
        required=True,
        help="LoRA file and its strength (default 1.4); give the option again for another file",
    )
    top.add_argument("--device", choices=["auto", "cpu"], default="auto", help="auto: ComfyUI's GPU, else the CPU")
    top.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    return top


def lora(text: str) -> tuple:
    """`pusa.pt:1.4` -> ("pusa.pt", 1.4); a colon that no number follows belongs to the path."""
    path, colon, number = text.rpartition(":")
    try:
        return (path, float(number)) if colon and path else (text, 1.4)
    except ValueError:
        return text, 1.4


def main(argv: list) -> int:
    """Run one command line; returns the exit code: 0, 1 for input that cannot be used, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    start_comfyui(cpu=arguments.device == "cpu" or not has_gpu())
    merge = pack_module("pusa_model.lora.merge.stream")
    # Leaving by an exception is what removes the unfinished file.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    lines = Lines()
    try:
        merge.merge(arguments.base, arguments.lora, arguments.output, arguments.overwrite, lines.show)
    except merge.InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    print(f"{arguments.output} is complete ({lines.elapsed:.1f} s).")
    return 0


class Lines:
    """Progress as a line now and then."""

    every = 5.0

    def __init__(self):
        self.started = self.shown = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def show(self, done: int, total: int) -> None:
        """Say how far it is, unless that was said a moment ago."""
        if time.monotonic() - self.shown > self.every or done == total:
            self.shown = time.monotonic()
            print(f"{100 * done // total:3} %  {done / 1e9:.2f} of {total / 1e9:.2f} GB  {self.elapsed:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
