"""Says what fits this computer, and prints the tables of README; with ``--write`` they and its other parts are written there."""

import argparse
import sys

from devtools.pages import PARTS, README, with_part
from hosting.process import has_gpu, start_comfyui


def main(argv: list) -> int:
    """Print, or write."""
    top = argparse.ArgumentParser(prog="dev.py bench card", description=__doc__, allow_abbrev=False)
    top.add_argument("--write", action="store_true", help="put the tables and what follows from the files into README.md")
    chosen = top.parse_args(argv)
    start_comfyui(cpu=not has_gpu())
    from comfy.model_management import total_ram, total_vram

    from .table import here, tables

    computed = tables()
    print("\n\n".join(computed.values()))
    print(f"\n{here(total_ram / 1024, total_vram / 1024 if has_gpu() else None)}")
    if chosen.write:
        text = README.read_text(encoding="ascii")
        for name, block in (computed | {name: make() for name, make in PARTS.items()}).items():
            text = with_part(text, name, block)
        README.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
