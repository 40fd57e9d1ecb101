"""Runs that are cancelled at a random point: the next one has the same bits, and nothing of the cancelled one is left."""

from __future__ import annotations

import time

from .host import Bench
from .kills import leftovers
from .material.references import extension, merged, reference, stored, transition
from .mixed import FOLDERS
from .tally import Tally

UNDISTURBED = 10**6  # seed of the runs that say how long a graph takes


def graphs(seed: int) -> dict[str, dict]:
    """What is cancelled, with a seed that no stored window has yet."""
    return {
        "KSampler": reference(steps=20 + seed % 5),
        "Extend Video": extension(seed=seed, hops=4, frames_in="disk"),
        "Extend Video in memory": extension(seed=seed, hops=4, direction="backwards"),
        "Transition": transition(seed=seed, steps=12, frames_in="disk"),
        "Merge LoRA": merged("cancelled"),
        "Save Prompt": stored("cancelled"),
    }


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Cancel a graph once for each number; the reference and the graph itself must then be what they are without."""
    first, seconds, kinds = bench.ask(reference()), {}, {}
    for number in numbers:
        draw = tally.random(number)
        name, graph = draw.choice(list(graphs(number).items()))
        if name not in seconds:
            began = time.monotonic()
            bench.ask(graphs(UNDISTURBED)[name])
            seconds[name] = time.monotonic() - began
        answer = bench.ask(graph, cancel_after=draw.uniform(0, seconds[name]))
        tally.tried += 1
        kinds[answer.kind] = kinds.get(answer.kind, 0) + 1
        if answer.kind not in ("cancelled", "success"):
            tally.fault("crash", number, f"{name}: {answer.words}", graph)
        again = bench.ask(reference())
        if (again.kind, again.told) != (first.kind, first.told):
            tally.fault("silent", number, f"the reference is another after {name}: {again}", graph)
        whole = bench.ask(graph)
        bench.free()
        if whole.kind != "success" or bench.ask(graph).told != whole.told:
            tally.fault("silent", number, f"{name} has another result after it was cancelled: {whole}", graph)
    bench.free()
    if left := [f"{folder}/{name}" for folder in FOLDERS for name in leftovers(bench.base / folder)]:
        tally.fault("lost", -1, f"left over at the end: {left}")
    tally.notes.append(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
