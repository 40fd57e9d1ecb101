"""Every table of what a vector of timesteps costs, printed and, unless --quick, written to RESULTS.md: `python dev.py bench`.

A measurement takes the place of its older tables as soon as it is done, those of a CPU and those of a GPU each of their own;
`python dev.py bench -- --only runs` is one measurement.
"""

import subprocess
import sys
from pathlib import Path

from hosting.process import ROOT, has_gpu, start_comfyui

from .measure.report import hardware, parser, with_part

NAMES = ("timesteps", "relatives", "runs", "length", "extend", "attention", "lora", "merge", "again", "cluster", "train")
PARTS = [f"{name}{device}" for name in NAMES for device in ("", "_gpu")]  # of the page
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# What a vector of timesteps costs

Printed by `python dev.py bench`. The calls of a table take turns in one process. *Time*: median. *Ratio*: the median over that of
the first row. *Round by round*: median and middle half of the ratios of all rounds, and their number; it differs from the ratio
where the machine was busy. *By the rest*: 1 + the difference in what both calls do not do alike, over the time of the first; on a
CPU the matrix products, attention and GELU on the same shapes are timed apart, so that their good and bad moments do not count.
*Peak memory*: the most that PyTorch has given out at once during a call, so without the weights; *resident*: the most that the
process has taken above what it had, files and all, which varies by some tens of MiB."""


def main(argv: list) -> int:
    """Run the measurements, each in a process of its own; returns 1 if a figure is above its limit."""
    top = parser("", __doc__)
    top.add_argument("--only", choices=NAMES, action="append", help="this one; give it again for another (default all)")
    arguments = top.parse_args(argv)
    passed = [f"--rounds={arguments.rounds}", *["--quick"] * arguments.quick]
    passed += [f"--{name}={given}" for name in ("layers", "size") if (given := getattr(arguments, name)) is not None]
    gpu = has_gpu()
    start_comfyui(cpu=not gpu)
    where, kept = f"*{hardware()}*", True
    print(HEAD, end="\n\n", flush=True)
    for name in arguments.only or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *passed]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        kept = kept and done.returncode == 0
        text = f"{where}\n\n{done.stdout}"
        print(text if done.stdout else f"{name} ended with exit code {done.returncode}; its older tables stay.", flush=True)
        if done.stdout and not arguments.quick:
            written = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
            RESULTS.write_text(with_part(written, f"{name}_gpu" if gpu else name, text, HEAD, PARTS), encoding="utf-8")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
