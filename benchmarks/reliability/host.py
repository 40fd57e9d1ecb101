"""A server with the pack, tiny models and a probe, and what it says to a graph."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cli.client import ComfyClient, ComfyError, ExecutionFailed, ExecutionInterrupted, PromptRejected, ServerUnreachable
from cli.server import ComfyServer, ServerDied, cpu_arguments
from devtools.places import PACK_NAME, prepare_base
from hosting.process import ROOT

from .material.films import write_inputs

PATIENCE = 90.0  # seconds for one small graph on a busy machine, after which it hangs
PACK = f"custom_nodes/{PACK_NAME}/"
LONGEST = 500  # characters of a sentence


@dataclass
class Answer:
    """What became of a graph.

    Attributes:
        kind: ``success``; ``sentence`` of a node of the pack; ``refused`` by the validation; ``host``: an error of ComfyUI's own
            nodes; ``cancelled``; ``crash``: anything else.
        words: of the error.
        told: of each probe, what came to it.
        node: the type of the node that failed.
    """

    kind: str
    words: str = ""
    told: dict = field(default_factory=dict)
    node: str = ""


class Client(ComfyClient):
    """The client, with what only a bench asks for."""

    async def post(self, path: str, **words):
        """Post JSON to a path of the server."""
        return await self._request("POST", path, json=words)

    async def told(self, prompt_id: str) -> dict:
        """What the probes of a finished prompt saw, by node."""
        while not (history := await self.get(f"/history/{prompt_id}")):
            await asyncio.sleep(0.01)
        return {id: output["told"][0] for id, output in history[prompt_id]["outputs"].items() if "told" in output}

    async def answer(self, graph: dict, cancel_after: float | None = None) -> Answer:
        """Queue a graph and judge how it ends; with ``cancel_after``, cancel it so many seconds after it was queued."""
        try:
            await self.post("/history", clear=True)  # the server would keep 10,000 graphs in memory
            prompt_id = await self.queue(graph)
            following = asyncio.ensure_future(self.follow(prompt_id))
            if cancel_after is not None:
                await asyncio.wait({following}, timeout=cancel_after)
                await self.cancel(prompt_id)
            await asyncio.wait_for(following, PATIENCE)
            return Answer("success", told=await self.told(prompt_id))
        except PromptRejected as error:
            return refusal(error)
        except ExecutionFailed as error:
            return failure(error)
        except ExecutionInterrupted:
            return Answer("cancelled")
        except ServerUnreachable:
            raise
        except ComfyError as error:
            return Answer("crash", f"not a word of the validation: {error}")


def refusal(error: PromptRejected) -> Answer:
    """A refusal is right, unless it is an exception that came out of the pack or tells where the server lies."""
    problems = [problem for report in error.node_errors.values() for problem in report["errors"]]
    raised = [line for problem in problems for line in (problem.get("extra_info") or {}).get("traceback", ())]
    ours = [line for line in raised if PACK in line]
    words = json.dumps([problem["details"] for problem in problems])
    if ours or (str(ROOT) in words):
        return Answer("crash", f"an exception in the validation: {words} {ours[-1:]}")
    return Answer("refused", words)


def failure(error: ExecutionFailed) -> Answer:
    """A sentence is a ValueError that begins with the display name of a node of the pack, short and without a path."""
    ours = error.node_type.startswith("Pusa") or PACK in error.traceback
    words = f"{error.node_type}: {error.exception_type}: {error.message}"
    head = error.message.partition(":")[0]
    paths = (str(ROOT), os.environ["COMFYUI_PATH"], "custom_nodes", "site-packages")
    plain = error.exception_type == "ValueError" and head.endswith(("(Pusa)", "Pusa LoRA", "(Pusa).validate"))
    if plain and len(error.message) <= LONGEST and not any(path in error.message for path in paths):
        return Answer("sentence", words, node=error.node_type)
    return Answer("crash" if ours else "host", f"{words}\n{error.traceback[-1200:]}" if ours else words, node=error.node_type)


def make_base(folder: Path) -> Path:
    """A base folder of ComfyUI with the pack, the probe, the tiny and the embedded models, pictures and clips."""
    base = _prepared(folder)
    subprocess.run([sys.executable, "-m", "tests.tiny", str(base / "models")], cwd=ROOT, check=True)
    shutil.copytree(ROOT / "assets" / "nano" / "models", base / "models", dirs_exist_ok=True)
    write_inputs(base / "input")
    return base


def copied_base(base: Path, folder: Path) -> Path:
    """Another base folder with the same models, pictures and clips."""
    for name in ("models", "input"):
        shutil.copytree(base / name, folder / name)
    return _prepared(folder)


def _prepared(folder: Path) -> Path:
    base = prepare_base(folder, ROOT)
    shutil.copy(Path(__file__).with_name("material") / "probe.py", base / "custom_nodes" / "reliability_probe.py")
    return base


class Bench:
    """A base folder with one server for many checks, started when it is first asked and again after it died.

    Attributes:
        base: its base folder.
        restarts: how often it had to be started again.
    """

    def __init__(self, base: Path):
        self.base, self.restarts = base, 0
        self._loop = asyncio.new_event_loop()
        self._server: ComfyServer | None = None
        self._client: Client | None = None

    @property
    def server(self) -> ComfyServer:
        """The running server."""
        if self._server is None:
            self._server = start_server(self.base)
        return self._server

    def ask(self, graph: dict, cancel_after: float | None = None) -> Answer:
        """What the server says to a graph; a server that died or hangs is a crash, and the next graph goes to a new one."""
        try:
            return self._run(lambda client: client.answer(graph, cancel_after))
        except (ServerUnreachable, ServerDied, asyncio.TimeoutError) as error:
            kind = "hangs" if isinstance(error, asyncio.TimeoutError) else "is gone"
            self.stop()
            self.restarts += 1
            return Answer("crash", f"the server {kind}: {error}")

    def get(self, path: str):
        """The JSON at a path of the server."""
        return self._run(lambda client: client.get(path))

    def free(self) -> None:
        """Have the server forget models and results, so that the same graph is worked out anew."""
        self._run(lambda client: client.post("/free", unload_models=True, free_memory=True))
        time.sleep(0.2)  # it is done between two prompts

    def forget_graphs(self) -> None:
        """Have the server forget which graphs it was sent: it keeps 10,000, with all texts in them."""
        self._run(lambda client: client.post("/history", clear=True))

    def _run(self, question):
        if self._client is None:
            self._client = Client(self.server.url)
            self._loop.run_until_complete(self._client.__aenter__())
        return self._loop.run_until_complete(question(self._client))

    def rest(self) -> None:
        """Close the connection; nobody reads it between two checks."""
        if self._client is not None:
            self._loop.run_until_complete(self._client.__aexit__())
            self._client = None

    def stop(self) -> None:
        """End the server."""
        self.rest()
        if self._server is not None:
            self._server.stop()
            self._server = None


def start_server(base: Path) -> ComfyServer:
    """A server on a base folder, running; to be stopped by the caller.

    It keeps the results of the last graph alone. By default ComfyUI keeps those of earlier ones while there is memory, so that what
    it takes grows with every graph.
    """
    options = [*cpu_arguments(sys.executable), "--cache-classic"]
    return ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=options).__enter__()
