"""Every table of what a vector of timesteps costs, printed and, unless --quick, written to RESULTS.md: `python dev.py bench`."""

import subprocess
import sys
from pathlib import Path

from cli.host import ROOT, has_gpu, start_comfyui

from .report import hardware

NAMES = ("timesteps", "runs", "length", "extend", "attention", "lora", "again")
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# What a vector of timesteps costs

Printed by `python dev.py bench`. The calls of a table take turns in one process. *Time*: median. *Ratio*: the median over that of
the first row. *Round by round*: median and middle half of the ratios of all rounds, and their number; it differs from the ratio
where the machine was busy. *By the rest*: 1 + the difference in what both calls do not do alike, over the time of the first; on a
CPU the matrix products, attention and GELU on the same shapes are timed apart, so that their good and bad moments do not count.
*Peak memory*: the highest above what was taken before the call, so without the weights.

{hardware}
"""


def main(argv: list) -> int:
    """Run every measurement in a process of its own; returns 1 if a figure is above its limit."""
    start_comfyui(cpu=not has_gpu())
    parts, kept = [HEAD.format(hardware=hardware())], True
    print(parts[0], flush=True)
    for name in NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *argv], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        kept = kept and done.returncode == 0
        parts.append(done.stdout or f"## {name}\n\nEnded with exit code {done.returncode}.\n")
        print(parts[-1], flush=True)
    if "--quick" not in argv:
        RESULTS.write_text("\n".join(parts), encoding="utf-8")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
