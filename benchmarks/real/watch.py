"""A server watched while it runs a graph: when each node began, when each step was done, RAM and memory of the card."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from cli.client import ComfyClient
from cli.track import Progress

PAUSE = 0.2  # seconds between two looks at the memory
GIB = 2**30


class Peaks(threading.Thread):
    """Looks at the memory of a server and what it started, and of the card as it tells it, until it is told to stop.

    Attributes:
        ram: most GiB that were resident, pages of files that are read where they lie among them.
        vram: most GiB of the card that were not free, those of other programs among them; 0 without one.
    """

    def __init__(self, url: str, pid: int):
        super().__init__(daemon=True)
        self.url, self.pid, self.ram, self.vram, self.over = url, pid, 0.0, 0.0, threading.Event()

    def run(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self.over.wait(PAUSE):
            self.ram = max(self.ram, resident(self.pid) / GIB)
            try:
                with opener.open(f"{self.url}/system_stats", timeout=60) as answer:
                    devices = json.load(answer)["devices"]
            except OSError:  # it is busy, or gone: then the run says so
                continue
            used = [device["vram_total"] - device["vram_free"] for device in devices if device["type"] != "cpu"]
            self.vram = max([self.vram, *(size / GIB for size in used)])

    def __enter__(self) -> Peaks:
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.over.set()
        self.join()


def resident(pid: int) -> int:
    """Bytes that a process and what it started have in memory."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total


@dataclass
class Course:
    """What a run did when.

    Attributes:
        began: {title of a node: seconds after the graph was queued}, in the order of their beginning.
        steps: seconds after that at which each step of a sampler was done.
        whole: seconds of all.
    """

    began: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)
    whole: float = 0.0

    @property
    def loading(self) -> float:
        """Seconds before the first node that samples: loaders, prompts, pictures."""
        return self.began[self.sampler]

    @property
    def sampler(self) -> str:
        return next(title for title in self.began if "KSampler" in title)

    @property
    def first(self) -> float:
        """Seconds of the first step, and of moving the weights and applying LoRAs before it."""
        return self.steps[0] - self.loading

    @property
    def step(self) -> float | None:
        """Seconds of a later step, the median; None where there is none."""
        later = [after - before for before, after in zip(self.steps, self.steps[1:])]
        return statistics.median(later) if later else None


def follow(url: str, graph: dict) -> Course:
    """Queue a graph and follow it to its end."""
    course, start, seen = Course(), time.perf_counter(), set()

    def note(progress: Progress) -> None:
        now = time.perf_counter() - start
        course.began.setdefault(progress.title, now)
        step = progress.node_id, progress.value
        if progress.weight > 1 and progress.value and step not in seen:
            seen.add(step)
            course.steps.append(now)

    async def queue() -> None:
        async with ComfyClient(url) as client:
            await client.run(graph, note)

    asyncio.run(queue())
    course.whole = time.perf_counter() - start
    return course
