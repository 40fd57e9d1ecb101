"""What Ray adds to a job beside the same ComfyUI posted to directly, and the memory of the command that gives out 200 jobs."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cli.__main__ import planned
from cli.client import ComfyClient
from cli.farm.cluster import connected
from cli.farm.driver import Farm, Task
from cli.farm.hiring import Hired
from cli.flags import parse
from cli.jobs import Job
from cli.pool import Work, make
from cli.progress import Board
from devtools.places import copy_comfyui

from ..measure.report import Limit, Table, main

PAIRS, JOBS, WORKERS, WARM = 30, 200, 2, 3
MOST_ADDED, MOST_GROWTH = 0.1, 10.0  # seconds of a job; MiB from job 20 to the last one
STORE = 100 * 2**20  # bytes of the object store
SMALL = ("--num_inference_steps", "1", "--num_frames", "5", "--width", "32", "--height", "32")


class Watched(Board):
    """A board that prints nothing and notes the memory of this process whenever a job is done."""

    def __init__(self, total: int):
        super().__init__(total)
        self.memory = []

    def show(self, fraction: float, text: str) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def leave(self, name: str, settled: bool) -> None:
        """A job is done."""
        super().leave(name, settled)
        self.memory.append(psutil.Process().memory_info().rss / 2**20)


def command(base: Path, *flags: str) -> argparse.Namespace:
    """A command line for a cluster."""
    where = ("--ray", "auto", "--gpus_per_job", "0", "--comfyui", str(base / "ComfyUI"))
    return parse(["t2v", "--model", "nano", *SMALL, "--output_dir", str(base / "out"), *where, *flags])


def some_jobs(base: Path, count: int, first: int) -> list[Job]:
    """Jobs that differ by their seeds."""
    jobs = []
    for seed in range(first, first + count):
        jobs += planned(command(base, "--seed", str(seed)), base / "out")[0]
    return jobs


async def by_turns(farm: Farm, jobs: list[Job]) -> tuple[list[float], list[float]]:
    """Seconds of jobs posted to the ComfyUI of a worker directly, and of as many through the worker."""
    hired, direct, through = Hired(farm.setup, farm.gpus, farm.folder), [], []
    await hired.begin()
    for number, job in enumerate(jobs):
        began = time.perf_counter()
        if number % 2:
            await farm._attempt(hired, Task(job))
        else:
            async with ComfyClient(hired.about["url"]) as client:
                await make(client, Work(job), farm.board)
        (through if number % 2 else direct).append(time.perf_counter() - began)
    await hired.dismiss()
    return direct[WARM:], through[WARM:]


def tables(arguments):
    """Both tables."""
    from ray.cluster_utils import Cluster

    pairs, count = (3, 2 * WORKERS) if arguments.quick else (PAIRS, JOBS)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        copy_comfyui(Path(os.environ["COMFYUI_PATH"]), base / "ComfyUI")
        (base / "out").mkdir()
        cluster = Cluster(True, head_node_args={"num_cpus": WORKERS, "object_store_memory": STORE, "include_dashboard": False})
        try:
            with connected(cluster.address):
                yield overhead(base, pairs)
                yield memory(base, count)
        finally:
            cluster.shutdown()


def overhead(base: Path, pairs: int) -> Table:
    """Time of a job on one ComfyUI, by two ways, taking turns."""
    jobs = some_jobs(base, 2 * (pairs + WARM), 0)
    direct, through = asyncio.run(by_turns(Farm(command(base), base / "out", Watched(len(jobs))), jobs))
    added = statistics.median(b - a for a, b in zip(direct, through))
    rows = [[name, f"{statistics.median(times):.3f} s", str(len(times))] for name, times in (("direct", direct), ("Ray", through))]
    rows.append(["Ray less direct, pair by pair", f"{1000 * added:.0f} ms", str(pairs)])
    limit = Limit("seconds that Ray adds to a job", added, MOST_ADDED)
    return Table("One job: through a worker of Ray, and posted to its ComfyUI directly", ["", "median", "jobs"], rows, (limit,))


def memory(base: Path, count: int) -> Table:
    """Memory of the process that gives out many jobs."""
    jobs, board = some_jobs(base, count, 10_000), Watched(count)
    farm, began = Farm(command(base), base / "out", board), time.perf_counter()
    asyncio.run(farm.take(jobs).run())
    seconds, early, late = time.perf_counter() - began, board.memory[count // 10 - 1], board.memory[-1]
    title = f"{count} jobs on {WORKERS} workers: memory of the command"
    heads = ["made", "failed", "time, starts of ComfyUI too", f"after {count // 10} jobs", "after all"]
    rows = [[str(len(farm.made)), str(len(farm.failures)), f"{seconds:.0f} s", f"{early:.0f} MiB", f"{late:.0f} MiB"]]
    limits = (Limit("MiB that it grows by", late - early, MOST_GROWTH), Limit("jobs that failed", len(farm.failures), 0))
    return Table(title, heads, rows, limits)


if __name__ == "__main__":
    sys.exit(main("cluster", __doc__, tables, sys.argv[1:]))
