"""A worker: on a machine of the cluster, a ComfyUI and the jobs that it makes, one at a time.

Each call runs in the one thread of the actor, and no method is a coroutine: with one, Ray would run up to 1000 calls at once.
"""

import asyncio
import dataclasses
import os
import socket
import sys
import uuid
from pathlib import Path

from ..client import ComfyClient, ComfyError, PromptRejected, ServerUnreachable
from ..jobs import Job
from ..models.identity import Files
from ..models.names import FOLDERS
from ..pool import Work, make
from ..server import ServerDied, cpu_arguments
from ..storage import Remote, StorageError, put
from .life import Life, check

TALKS = 3  # with a ComfyUI that does not answer, before it is given up
PAUSE = 0.5  # seconds between two words on how far a job is
MADE, BEFORE, FAILED, REFUSED, LOST, CANCELLED, STEP = "made", "before", "failed", "refused", "lost", "cancelled", "step"


class Latest:
    """Board of one job: it keeps the last thing said."""

    def __init__(self):
        self.said = None

    def step(self, name: str, *said) -> None:
        """The job went on."""
        self.said = said

    def take(self) -> tuple | None:
        """What was said since the last time; None if nothing was."""
        said, self.said = self.said, None
        return said


class Worker:
    """Owns a ComfyUI, and another one when that is lost.

    Args:
        comfyui, python: its folder, and its Python; "" is that of the worker.
        extra: flags of ComfyUI.
        gpus: how many Ray gave to this process.
        folder: where the videos go.
    """

    def __init__(self, comfyui: str, python: str, extra: list, gpus: int, folder: Path | Remote):
        self.given, self.gpus = (comfyui, python or sys.executable), gpus
        self.extra, self.device = extra, None if gpus else ["--cpu"]
        self.folder, self.life, self.loop = folder, None, asyncio.new_event_loop()
        if gpus:
            os.environ.pop("OMP_NUM_THREADS", None)  # Ray's, one for a CPU core: ComfyUI would offload and encode with one thread
        self.node = f"{socket.gethostname()}:{Path(comfyui).resolve()}"

    def where(self) -> str:
        """Name of the machine."""
        return socket.gethostname()

    def start(self, probe: str) -> dict:
        """Start ComfyUI, and put a file of a name where the videos go; returns who and where this is.

        The caller looks for that file and removes it: so it knows that both mean the same place.

        Raises:
            ServerDied: it did not start.
            StorageError: this machine cannot write there.
        """
        self._live()
        try:
            put(self.folder / probe, b"")
        except OSError as error:
            raise StorageError(f"{self.folder}: {error.strerror}") from None
        device = self.loop.run_until_complete(device_of(self.life.server.url))
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if self.gpus else ""
        return {"node": self.node, "device": device, "gpus": gpus, "url": self.life.server.url}

    def forget(self, probe: str) -> None:
        """Remove the file that `start` has put."""
        (self.folder / probe).unlink(missing_ok=True)

    def files(self) -> dict:
        """The model files of its ComfyUI: {folder: {name: file}}."""
        return self.loop.run_until_complete(listed(self.life.server.url))

    def make(self, job: Job, contents: dict):
        """Make a job; yields (STEP, how far, pace) now and then, and at last (what came of it, why).

        Args:
            contents: name on the server -> content of each given file of the job.
        """
        if job.finished():
            yield BEFORE, ""
            return
        try:
            self._live()
        except ServerDied as error:
            yield LOST, str(error)
            return
        here = dataclasses.replace(job, filled=dataclasses.replace(job.filled, uploads=self._written(contents)))
        board, work = Latest(), Work(here, prefix=uuid.uuid4().hex, called=self.node)
        task = self.loop.create_task(made(self.life, work, board))
        while not task.done():
            self.loop.run_until_complete(asyncio.wait({task}, timeout=PAUSE))
            if is_cancelled():
                task.cancel()
            elif said := board.take():
                yield STEP, *said
        yield self._outcome(task)
        if self.life:
            self.life.clean()

    def end(self) -> None:
        """Stop ComfyUI and remove what is left of it."""
        if self.life:
            self.life.end()
            self.life = None

    def _live(self) -> None:
        """See to it that there is a ComfyUI; one that ended between two jobs is no job's fault."""
        if self.life and self.life.server.ended():
            self.end()
        if self.life is None:
            check(*self.given)
            if self.device is None:
                self.device = cpu_arguments(self.given[1])
            self.life = Life(*self.given, [*self.device, *self.extra], lambda: not is_cancelled())

    def _written(self, contents: dict) -> dict:
        """The given files of a job on this machine."""
        paths = {name: self.life.given / Path(name).name for name in contents}
        for name, path in paths.items():
            path.write_bytes(contents[name])
        return paths

    def _outcome(self, task: asyncio.Task) -> tuple:
        """What came of a job, and why."""
        if task.cancelled():
            return CANCELLED, ""
        error = task.exception()
        if isinstance(error, ServerUnreachable):
            words = f"ComfyUI was lost: {error}" + self.life.last_words()
            self.end()
            return LOST, words
        if isinstance(error, PromptRejected):
            return REFUSED, str(error)
        if isinstance(error, (ComfyError, OSError, StorageError)):
            return FAILED, str(error)
        if error:
            return FAILED, f"{type(error).__name__}: {error}"
        return MADE, ""


def is_cancelled() -> bool:
    """Whether the caller has cancelled the call that runs."""
    import ray

    return ray.get_runtime_context().is_canceled()


async def made(life: Life, work: Work, board: Latest) -> None:
    """Make a job; a server that is silent but lives is asked again, and still has the prompt."""
    for left in reversed(range(TALKS)):
        try:
            async with ComfyClient(life.server.url) as client:
                return await make(client, work, board)
        except ServerUnreachable:
            await asyncio.sleep(1)
            if not left or life.server.ended():
                raise


async def device_of(url: str) -> str:
    """What the server calls the device that it samples on."""
    async with ComfyClient(url) as client:
        return (await client.get("/system_stats"))["devices"][0]["name"]


async def listed(url: str) -> dict:
    """The model files of a server, by folder and name."""
    async with ComfyClient(url) as client:
        files = Files(client)
        return {folder: await files.listed(folder) for folder in FOLDERS.values()}
