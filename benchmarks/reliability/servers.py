"""Two servers on one base folder: each result is that of a server alone, also while the other one starts and stops."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .host import Bench, copied_base
from .material.references import extension, node
from .tally import Tally

CHANGES = {
    "nothing": {},
    "LoRA strength": {"model": {"strength": 0.3}},
    "model file": {"unet": {"unet_name": "pusa_tiny_wan_low.safetensors"}},
    "model precision": {"unet": {"weight_dtype": "fp8_e4m3fn"}},
    "VAE": {"vae": {"vae_name": "pusa_nano_vae.safetensors"}},
    "prompt": {"positive": {"prompt_name": "pusa_tiny_negative.safetensors"}},
    "negative prompt": {"negative": {"prompt_name": "pusa_tiny_positive.safetensors"}},
    "clip": {"file": {"file": "sounding.mp4"}},
    "seed": {"extend": {"seed": 2}},
    "noise": {"extend": {"noise": "0.3"}},
    "guidance": {"extend": {"cfg": 2.0}},
    "shift": {"extend": {"shift": 3.0}},
    "sampler": {"extend": {"sampler_name": "euler_ancestral"}},
    "overlap": {"extend": {"overlap": 9}},
    "frames on disk": {"extend": {"frames_in": "disk"}},
}


def changed(change: str) -> dict:
    """The extension with one thing changed."""
    graph = extension()
    for id, inputs in CHANGES[change].items():
        graph[id] = node(graph[id]["class_type"], **(graph[id]["inputs"] | inputs))
    return graph


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Numbers are changes, each tried on both servers at once; behind them, restarts of the second beside an extension."""
    with tempfile.TemporaryDirectory(prefix="pusa-servers-") as folder:
        base = copied_base(bench.base, Path(folder))
        pair = [Bench(base), Bench(base)]
        try:
            with ThreadPoolExecutor() as threads:
                list(threads.map(lambda each: each.get("/probe"), pair))
                for number in numbers:
                    check = _beside if number < len(CHANGES) else _while_it_restarts
                    check(bench, pair, threads, tally, number)
        finally:
            for each in pair:
                each.stop()


def _beside(bench: Bench, pair: list[Bench], threads: ThreadPoolExecutor, tally: Tally, number: int) -> None:
    """Two graphs at once, one on each server."""
    names = list(CHANGES)
    asked = [names[number], names[(number + 1) % len(names)]]
    answers = list(threads.map(lambda each, name: each.ask(changed(name)), pair, asked))
    for name, answer in zip(asked, answers):
        _same(bench, tally, number, changed(name), answer, f"beside another server, {name} changed")


def _while_it_restarts(bench: Bench, pair: list[Bench], threads: ThreadPoolExecutor, tally: Tally, number: int) -> None:
    """A long extension with its frames on the disk, while the other server ends and starts, which empties the temp folder."""
    graph = extension(frames_in="disk", hops=12, steps=6, seed=number)
    extending = threads.submit(pair[0].ask, graph)
    while not extending.done():
        pair[1].stop()
        pair[1].get("/probe")
    _same(bench, tally, number, graph, extending.result(), "while another server starts and stops")


def _same(bench: Bench, tally: Tally, number: int, graph: dict, answer, when: str) -> None:
    tally.tried += 1
    alone = bench.ask(graph)
    if answer.kind == "crash" or alone.kind != "success":
        tally.fault("crash", number, f"{when}: {answer.words or alone.words}", graph)
    elif (answer.kind, answer.told) != (alone.kind, alone.told):
        tally.fault("silent", number, f"{when}: {answer} where a server alone gives {alone}", graph)
