"""What a ComfyUI server does again when a graph is queued with one thing changed: calls of its own functions, counted.

The graph is start and end frames on the embedded model. The numbers come from inside the server (`benchmarks/measure/counting.py`).
"""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from cli.client import ComfyClient
from cli.demo.tasks import demo_graph
from cli.server import ComfyServer, cpu_arguments
from devtools.places import prepare_base
from hosting.process import ROOT

from .measure.report import Limit, Table, main

FREE = ("noise", "position", "seed", "prompt")
CHANGES = {
    "nothing": {},
    "noise": {"Keyframes (Pusa)": {"noise": "0.3"}},
    "position": {"Keyframes (Pusa)": {"positions": "0, 20"}},
    "seed": {"KSampler (Pusa)": {"seed": 1}},
    "prompt": {"Prompt": {"prompt_name": "nano_negative.safetensors"}},
    "picture": {"Start picture": {"image": "nano_16.png"}},
    "LoRA strength": {"Load Model (Pusa)": {"strength": 1.2}},
}


async def queue_all(url: str) -> dict[str, dict[str, int]]:
    """Queue the graph, then with each change on top of those before it; returns the calls that each queueing took."""
    graph, found = demo_graph("start-end", steps=2), {}
    titled = {node["_meta"]["title"]: node for node in graph.values()}
    async with ComfyClient(url) as client:
        before = await client.get("/calls")
        for change, nodes in {"the first time": {}, **CHANGES}.items():
            for title, inputs in nodes.items():
                titled[title]["inputs"] |= inputs
            await client.run(graph)
            after = await client.get("/calls")
            found[change] = {name: after[name] - before[name] for name in after}
            before = after
    return found


def measure() -> dict[str, dict[str, int]]:
    """The same on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="pusa-again-") as folder:
        base = prepare_base(Path(folder), ROOT)
        for part in ("models", "input"):
            shutil.copytree(ROOT / "assets" / "nano" / part, base / part, dirs_exist_ok=True)
        shutil.copy(Path(__file__).with_name("measure") / "counting.py", base / "custom_nodes")
        with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=cpu_arguments(sys.executable)) as server:
            return asyncio.run(queue_all(server.url))


def tables(arguments):
    """One row for each queueing."""
    found = measure()
    limits = [Limit(f"Done again for another {change}", sum(found[change].values()), 0) for change in FREE]
    limits.append(Limit("Files read for another LoRA strength", found["LoRA strength"]["model files read"], 1))
    note = "Each row is queued behind the one above it. For another strength the LoRA is read and applied again, the model kept."
    rows = [[change, *map(str, counts.values())] for change, counts in found.items()]
    yield Table("Queued again: what is done", ["changed", *found["nothing"]], rows, tuple(limits), (note,))


if __name__ == "__main__":
    sys.exit(main("again", __doc__, tables, sys.argv[1:]))
