"""Many different graphs in one server, with a known one now and then: the same bits, memory, open handles and files."""

from __future__ import annotations

import statistics

from .host import Bench
from .inputs import hostile
from .kills import files, leftovers
from .material.references import reference
from .tally import Tally

EVERY = 50  # graphs between two reference graphs
MOST_MEMORY = 1.02  # resident memory of the last fifth to that of the second
MOST_HANDLES = 2  # open handles more than then
FOLDERS = ("temp", "output", "input", "models", "user")


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Queue the graphs of these numbers; those that fail belong to the mixture."""
    info = bench.get("/object_info")
    given = set(files(bench.base / "input"))
    first = bench.ask(reference())
    if first.kind != "success":
        tally.fault("crash", -1, first.words, reference())
        return
    states = []
    for number in numbers:
        graph, _ = hostile(info, tally.random(number))
        answer = bench.ask(graph)
        tally.tried += 1
        if answer.kind == "crash":
            tally.fault("crash", number, answer.words, graph)
        if number % EVERY == EVERY - 1:
            again = bench.ask(reference())
            if (again.kind, again.told) != (first.kind, first.told):
                tally.fault("silent", number, f"the reference is another after this one: {again}", reference())
        bench.forget_graphs()
        states.append(bench.get("/probe"))
    _flat(tally, states)
    bench.free()
    left = [f"{folder}/{name}" for folder in FOLDERS for name in leftovers(bench.base / folder)]
    left += [f"input/{name}" for name in files(bench.base / "input") if name not in given]
    if left:
        tally.fault("lost", -1, f"left over at the end: {left}")


def _flat(tally: Tally, states: list[dict]) -> None:
    """Hold the medians of the last fifth against those of the second, which lies behind the warm-up."""
    fifth = len(states) // 5
    if fifth < 20:
        return
    resident, handles = (
        [statistics.median(state[name] for state in part) for part in (states[fifth : 2 * fifth], states[-fifth:])]
        for name in ("resident", "handles")
    )
    tally.limit("resident memory of the last fifth to that of the second", resident[1] / resident[0], MOST_MEMORY)
    tally.limit("open handles more than then", handles[1] - handles[0], MOST_HANDLES)
    tally.notes.append(f"resident {resident[0] / 2**20:.0f} MiB, then {resident[1] / 2**20:.0f}")
