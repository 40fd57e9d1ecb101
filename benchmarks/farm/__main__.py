"""Simulates a batch on 10, 100 and 1,000 GPUs, calm, on spot machines and on a bad day: clips per hour, waste and tail, in seconds.

The table is that of deploy/SCALE.md, which also says where the numbers come from; ``--write`` puts it there.
"""

import argparse
import sys
from dataclasses import replace
from statistics import mean

from cli.flags.values import number
from devtools.pages import with_part
from devtools.places import REPOSITORY

from .simulation import Farm, Result, Setting

PAGE, NAME = REPOSITORY / "deploy" / "SCALE.md", "farm"
SEEDS = {10: 10, 100: 3, 1000: 1}  # runs of each size; a large farm is an average in itself
EACH = 100  # jobs for each actor
CLIP = Setting.clip
SETTINGS = {
    "calm": Setting(actor_losses=0.001, comfyui_losses=0.01, slow_cards=0.02, slow_card=1.3, slow_jobs=0.001, slow_job=3),
    "spot": Setting(
        machine_losses=1 / 24, machines=180, fetch=32, actor_losses=0.001, comfyui_losses=0.01, slow_cards=0.02, slow_card=1.3,
        slow_jobs=0.001, slow_job=3, refused=0.001,
    ),
    "bad day": Setting(
        machine_losses=0.5, machines=600, fetch=96, actor_losses=0.02, comfyui_losses=0.2, slow_cards=0.1, slow_card=2,
        slow_jobs=0.01, slow_job=5, refused=0.001, deadly=0.001,
    ),
}  # fmt: skip
HEADS = (
    "setting", "actors", "clips per hour", "of a farm without faults", "waste", "starts, lost, waiting", "p50, p95, p99 of a clip",
    "last 1 %", "actors lost", "failed",
)  # fmt: skip


def row(name: str, actors: int, runs: list[Result], ideal: float) -> list[str]:
    """Means over the runs, and half the spread of clips per hour where there are several."""
    rates = [run.per_hour for run in runs]
    spread = f" +- {(max(rates) - min(rates)) / 2:,.0f}" if len(runs) > 1 else ""
    parts = ", ".join(f"{100 * mean(getattr(run, part) / run.held for run in runs):.1f}" for part in ("starts", "lost", "waiting"))
    times = ", ".join(f"{mean(run.time(share) for run in runs):.0f}" for share in (0.5, 0.95, 0.99))
    return [
        name, f"{actors:,}", f"{mean(rates):,.0f}{spread}", f"{100 * mean(rates) / ideal:.0f} %",
        f"{100 * mean(run.waste for run in runs):.1f} %", f"{parts} %", f"{times} s", f"{mean(run.last for run in runs):.0f} s",
        f"{mean(sum(run.losses.values()) for run in runs):.1f}", f"{mean(len(run.failed) for run in runs):.1f}",
    ]  # fmt: skip


def table(clip: float = CLIP, each: int = EACH) -> str:
    """Every setting at every size, as a table in Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for name, setting in SETTINGS.items():
        told = replace(setting, clip=clip)
        for actors, seeds in SEEDS.items():
            runs = [Farm(told, actors, actors * each, seed).run() for seed in range(seeds)]
            ideal = actors * 3600 / (clip + told.dispatch)
            lines.append(f"| {' | '.join(row(name, actors, runs, ideal))} |")
    return "\n".join(lines)


def main(argv: list) -> int:
    """Print, or write."""
    top = argparse.ArgumentParser(prog="dev.py bench farm", description=__doc__.splitlines()[0], allow_abbrev=False)
    text = "seconds of a job on a GPU (default 20: 480p, 4 steps, an H100)"
    top.add_argument("--clip", type=number(float, 0.1, 86400), default=CLIP, help=text)
    top.add_argument("--each", type=number(int, 1, 100_000), default=EACH, help="jobs for each actor (default 100)")
    top.add_argument("--write", action="store_true", help="put the table into deploy/SCALE.md, as it is without other options")
    chosen = top.parse_args(argv)
    if chosen.write and (chosen.clip, chosen.each) != (CLIP, EACH):
        top.error("--write goes with neither --clip nor --each: the page has the table as it is without them.")
    found = table(chosen.clip, chosen.each)
    print(found)
    if chosen.write:
        PAGE.write_text(with_part(PAGE.read_text(encoding="ascii"), NAME, found), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
