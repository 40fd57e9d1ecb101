"""Workers as the command sees them: hired, begun, and sent home."""

import asyncio
import contextlib
import time
import uuid
from pathlib import Path

from ..storage import Remote, StorageError
from .cluster import FarmError
from .worker import Worker

FAREWELL = 20.0  # seconds in which a worker may cancel what it does and remove what is left


class StartError(Exception):
    """A worker that could not start its ComfyUI, or was lost meanwhile; the message says why."""


class Hired:
    """A worker, or the wish for one.

    Args:
        setup: what the worker is made with.
        gpus: of the worker.
        folder: where the videos go.

    Attributes:
        actor: the handle; None before it is asked for, and at the end.
        placed: whether it runs on some machine.
        node: machine and folder of ComfyUI; "" until it takes jobs.
        about: what it said of itself.
        leaving: whether it is being sent home, which takes it some seconds: nothing should interrupt that.
    """

    def __init__(self, setup: tuple, gpus: int, folder: Path | Remote):
        self.setup, self.gpus, self.folder = setup, gpus, folder
        self.actor, self.placed, self.node, self.about = None, False, "", {}
        self.leaving, self._starting, self._probe = False, None, ""

    async def begin(self) -> str:
        """Wait for a place and a ComfyUI; returns a sentence on both.

        Raises:
            StartError: this worker could not.
            FarmError: none can, for it cannot write where the videos go, or writes to another place of that name.
        """
        import ray

        began = time.monotonic()
        try:
            options = {"num_cpus": 1, "num_gpus": self.gpus, "max_restarts": 0, "max_concurrency": 1}
            self.actor = ray.remote(Worker).options(**options).remote(*self.setup)
            name = await self.actor.where.remote()
            self.placed, self._probe = True, f".{uuid.uuid4().hex}.probe"
            self._starting = self.actor.start.remote(self._probe)
            self.about = await self._starting
        except ray.exceptions.RayError as error:
            await self.dismiss()
            if isinstance(getattr(error, "cause", None), StorageError):
                raise FarmError(f"--output_dir, on a worker: {plain(error)}") from None
            raise StartError(plain(error)) from None
        if not (self.folder / self._probe).exists():
            await self.actor.forget.remote(self._probe)
            raise FarmError(
                f"--output_dir: {self.folder} of {name} is not that of this machine; give a URL as s3://bucket/folder, or a folder "
                "that all machines of the cluster share under this name"
            )
        self._forget()
        self.node = self.about["node"]
        where = f"{name}, GPU {self.about['gpus']}" if self.about["gpus"] else name
        return f"{where}: ComfyUI on {self.about['device']}, ready after {time.monotonic() - began:.0f} s"

    async def dismiss(self) -> None:
        """End the worker; one that runs somewhere may put away its things first."""
        import ray

        if self.actor is None:
            return
        self.leaving = True
        if self.placed:
            with contextlib.suppress(ray.exceptions.RayError, asyncio.TimeoutError):
                if self._starting and not self.node:
                    ray.cancel(self._starting)
                await asyncio.wait_for(self.actor.end.remote(), FAREWELL)
        ray.kill(self.actor)
        self._forget()
        self.actor, self.placed, self._starting, self.node, self.leaving = None, False, None, "", False

    def _forget(self) -> None:
        """Remove the file that the worker has put where the videos go."""
        if self._probe:
            (self.folder / self._probe).unlink(missing_ok=True)
            self._probe = ""


def plain(error) -> str:
    """What a worker said, or Ray of it, in one line or a few."""
    cause = getattr(error, "cause", None)
    text = str(cause or error).strip()
    return text if cause else text.splitlines()[0]
