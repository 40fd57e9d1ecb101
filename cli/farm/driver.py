"""Jobs given to workers of a cluster. Workers come and go with its machines; a job is with one of them, waits, or is settled."""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..graph.fill import LATENT
from ..graph.filling import LOADED
from ..jobs import Job
from ..models.identity import Files, of_today
from ..models.names import model_inputs
from ..progress import Board
from .cluster import FarmError, places, told
from .hiring import Hired, StartError, plain
from .worker import BEFORE, CANCELLED, FAILED, LOST, MADE, REFUSED, STEP

LOOK = 1.0  # seconds between two looks at the cluster
SOON = 10.0  # seconds without a place for a worker, after which that is told
AHEAD = 4  # workers asked for beyond what the cluster has room for, so that one that grows by demand does
STARTS = 3  # of ComfyUI that fail before any has succeeded
QUIET = 10.0  # seconds between two lines of a log on one node of one job
MACHINES = 3  # that may refuse a job before it has failed


@dataclass(eq=False)
class Task:
    """A job on its way: how often it was begun, and why a machine refused it."""

    job: Job
    tries: int = 0
    refusals: dict = field(default_factory=dict)


class Farm:
    """Jobs and a cluster.

    Attributes:
        made: names of the jobs that are done. failures: {name: reason} of those that are not.
        tries: {name: how often it was begun}.
    """

    def __init__(self, given, folder, board: Board):
        self.setup = given.comfyui, given.comfyui_python or "", given.comfyui_flags or [], given.gpus_per_job, folder
        self.folder, self.gpus, self.retries, self.patience = folder, given.gpus_per_job, given.retries, given.wait
        self.board, self.run_id = board, uuid.uuid4().hex[:8]
        self.waiting, self.open = deque(), 0
        self.made, self.failures, self.tries = [], {}, {}
        self.staff: dict[asyncio.Task, Hired] = {}
        self.idle: list[Hired] = []  # hired before there were jobs
        self.started, self.broken, self.why_broken = 0, 0, ""
        self.seen, self.told = time.monotonic(), False  # when a worker was last there; whether it is said that none is

    def take(self, jobs: list) -> "Farm":
        """Have jobs made by `run`; those of one kind after each other, so that models and sizes stay as they are."""
        own = [replace(job, part=f".{self.run_id}.part") for job in jobs]
        self.waiting = deque(Task(job) for job in sorted(own, key=lambda job: kind_of(job.filled.graph)))
        self.open = len(jobs)
        return self

    async def today(self, jobs: list) -> list:
        """Jobs, each finished one under another name if a worker has other model files by now under the names it was made from."""
        hired = self._hired()
        self.idle.append(hired)
        while not hired.node:
            beginning = asyncio.create_task(self._begin(hired))
            try:
                while not (await asyncio.wait({beginning}, timeout=LOOK))[0]:
                    if not hired.placed and await self._too_long():
                        raise FarmError(await self._no_room())
            finally:
                beginning.cancel()
            beginning.result()
        files = Files(None, await hired.actor.files.remote())
        return [await of_today(job, {hired.node: files}) for job in jobs]

    async def run(self) -> None:
        """Make all jobs. Cancelled, it also cancels what runs on the workers, and ends them."""
        self.seen = time.monotonic()
        try:
            while self.open:
                await self._adjust()
                if self.staff:
                    await asyncio.wait(self.staff, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self.staff if task.done()]:
                    del self.staff[task]
                    if not task.cancelled():
                        task.result()
        finally:
            await self.close()

    async def close(self) -> None:
        """End all workers; a wish to stop meanwhile is for just that."""
        for task, hired in self.staff.items():
            if not hired.leaving:
                task.cancel()
        ending = asyncio.gather(*self.staff, *(hired.dismiss() for hired in self.idle), return_exceptions=True)
        while not ending.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
        self.staff, self.idle = {}, []

    async def _adjust(self) -> None:
        """Hire workers while jobs wait and there may be room; send those home that have not begun and are not needed."""
        unready = [task for task, hired in self.staff.items() if not hired.node and not hired.leaving]
        for task in unready[len(self.waiting) :]:
            task.cancel()
        room = await asyncio.to_thread(places, self.gpus) + AHEAD - self.broken - len(self.staff)
        for _ in range(min(len(self.waiting) - len(unready), room)):
            hired = self.idle.pop() if self.idle else self._hired()
            self.staff[asyncio.create_task(self._serve(hired))] = hired
        if any(hired.placed for hired in self.staff.values()):
            self.seen, self.told = time.monotonic(), False
        elif await self._too_long() or not self.staff:
            why = self.why_broken or await self._no_room()
            while self.waiting:
                self._settle(self.waiting.popleft(), why)

    def _hired(self) -> Hired:
        return Hired(self.setup, self.gpus, self.folder)

    async def _too_long(self) -> bool:
        """Whether no machine has had room for longer than that is waited for; before, that it is waited for is said once."""
        waited = time.monotonic() - self.seen
        if waited > SOON and not self.told:
            self.told = True
            why = await asyncio.to_thread(told, self.gpus)
            self.board.say(f"Waiting for a machine with room for ComfyUI, up to {self.patience:.0f} s: {why}")
        return waited > self.patience

    async def _no_room(self) -> str:
        return f"no machine had room for ComfyUI in {self.patience:.0f} s: {await asyncio.to_thread(told, self.gpus)}"

    async def _serve(self, hired: Hired) -> None:
        """A worker from its first job to its last."""
        import ray

        try:
            while not hired.node and self.waiting:
                if not await self._begin(hired):
                    return
            while task := self._next(hired.node):
                await self._attempt(hired, task)
        except ray.exceptions.RayActorError:
            pass  # its job waits for another
        finally:
            await hired.dismiss()
            self._drop_hopeless()

    async def _begin(self, hired: Hired) -> bool:
        """Have a worker start its ComfyUI; whether it did.

        Raises:
            FarmError: no worker can do what it must.
        """
        try:
            self.board.say(await hired.begin())
        except StartError as error:
            self.broken, self.why_broken = self.broken + 1, str(error)
            if not self.started and self.broken >= STARTS:
                raise FarmError(f"no worker could start ComfyUI. {error}") from None
            self.board.say(f"A worker could not start ComfyUI: {error}")
            return False
        self.started, self.broken = self.started + 1, 0
        return True

    def _next(self, node: str) -> Task | None:
        """The next job for a machine."""
        for task in self.waiting:
            if node not in task.refusals:
                self.waiting.remove(task)
                return task
        return None

    async def _attempt(self, hired: Hired, task: Task) -> None:
        """Have a worker make one job.

        Raises:
            ray.exceptions.RayActorError: it is gone.
        """
        import ray

        name = task.job.name
        try:
            contents = {there: path.read_bytes() for there, path in task.job.filled.uploads.items()}
        except OSError as error:
            return self._settle(task, str(error))
        task.tries += 1
        self.tries[name] = task.tries
        running = hired.actor.make.options(num_returns="streaming").remote(task.job, contents)
        del contents
        kind, said, title, due = LOST, ["it ended without a word"], "", 0.0
        try:
            async for word in running:
                kind, *said = await word
                if kind == STEP and (self.board.live or said[0].title != title or time.monotonic() > due):
                    self.board.step(name, *said)
                    title, due = said[0].title, time.monotonic() + QUIET
            self._judge(task, kind, said[0], hired.node)
        except asyncio.CancelledError:
            ray.cancel(running)
            raise
        except ray.exceptions.RayTaskError as error:
            self._judge(task, FAILED, plain(error), hired.node)
        except ray.exceptions.RayError as error:
            self._judge(task, LOST, f"its worker is gone: {plain(error)}", hired.node)
            raise ray.exceptions.RayActorError from None

    def _judge(self, task: Task, kind: str, why: str, node: str) -> None:
        """Settle a job by what came of it, or have it wait for another try."""
        if kind in (MADE, BEFORE):
            self._settle(task)
        elif kind == REFUSED:
            task.refusals[node] = why
            self.board.leave(task.job.name, settled=False)
            if len(task.refusals) < MACHINES:
                self.waiting.append(task)
                self._drop_hopeless()
            else:
                self._settle(task, refused(task))
        elif kind == LOST and task.tries <= self.retries:
            self.board.leave(task.job.name, settled=False)
            self.board.say(f"{task.job.name}: {why.splitlines()[0]}; it is tried again")
            self.waiting.appendleft(task)
        elif kind == LOST:
            times = f"each of the {task.tries} times" if task.tries > 1 else "the one time"
            self._settle(task, f"ComfyUI or its machine was lost {times} that this ran. {why}")
        elif kind != CANCELLED:
            self._settle(task, why)

    def _drop_hopeless(self) -> None:
        """Settle the jobs that every machine with a worker has refused."""
        nodes = {hired.node for hired in self.staff.values()} - {""}
        for task in [task for task in self.waiting if task.refusals and not nodes - task.refusals.keys()]:
            self.waiting.remove(task)
            self._settle(task, refused(task))

    def _settle(self, task: Task, failure: str = "") -> None:
        name = task.job.name
        self.board.leave(name, settled=True)
        self.open -= 1
        if failure:
            self.failures[name] = failure
            if isinstance(task.job.video, Path):
                for path in (task.job.video, task.job.record):  # of a worker that was lost while it wrote
                    path.with_name(path.name + task.job.part).unlink(missing_ok=True)
        else:
            self.made.append(name)
        self.board.say(f"{name}: {'failed' if failure else f'done, {task.job.video}'}")


def refused(task: Task) -> str:
    """Why a job was refused, by each machine."""
    return "\n".join(dict.fromkeys(task.refusals.values()))


def kind_of(graph: dict) -> list:
    """What jobs have in common that run well after each other: model files, then sizes."""
    files = [(key, name) for _, key, _, name in model_inputs(graph) if key != LOADED["PusaLoadPrompt"]]
    sizes = [(name, str(node["inputs"][name])) for node in graph.values() for name in LATENT.values() if name in node["inputs"]]
    return sorted(files) + sorted(sizes)
