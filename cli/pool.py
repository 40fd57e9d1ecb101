"""Jobs spread over servers: one at a time on each, and no server or job that fails keeps the others from their end."""

import asyncio
import contextlib
import copy
import time
import uuid
from collections import deque
from dataclasses import dataclass, field

from .client import ComfyClient, ComfyError, PromptRejected, ServerUnreachable
from .graph.filling import UPLOADS
from .graph.links import only
from .jobs import Job
from .models.identity import UNKNOWN, made_with
from .models.names import SOURCES, explained, with_names_of
from .progress import Board, Pace
from .storage import StorageError
from .track import Progress

GRACE = 5.0  # seconds in which a server that was lost may come back before another takes its job
LONGEST_PAUSE = 10.0
MOST_POSTS = 3  # a job that brought down so many servers is not tried again


@dataclass(eq=False)
class Work:
    """A job on its way, by server: its prompts, why one refused it, and what it is made with.

    Attributes:
        prefix: name of the video on the server; "" leaves that of the graph. With another one, a server that has made the same
            graph before saves the video again.
        called: what the record calls the server; "" is its address.
    """

    job: Job
    prefix: str = ""
    called: str = ""
    prompt_ids: dict = field(default_factory=dict)
    refusals: dict = field(default_factory=dict)
    made: dict = field(default_factory=dict)
    posts: int = 0


class Pool:
    """Jobs and servers.

    Attributes:
        made: names of the jobs that are done. failures: {name: reason} of those that are not.
        tries: {name: how often it was posted}.
    """

    def __init__(self, jobs: list, urls: list, patience: float, board: Board):
        self.waiting = deque(Work(job) for job in jobs)
        self.urls, self.patience, self.board = set(urls), patience, board
        self.open = len(jobs)
        self.made, self.failures, self.tries = [], {}, {}
        self.why_away: dict[str, str] = {}

    async def run(self) -> None:
        """Make all jobs. Cancelled, it also cancels what runs on the servers."""
        self.changed, self.settled = asyncio.Event(), asyncio.Event()
        workers = [asyncio.create_task(self._serve(url)) for url in sorted(self.urls)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _serve(self, url: str) -> None:
        """Give one server jobs, as long as there are any and it does not stay away."""
        async with ComfyClient(url) as client:
            lost = None
            while await self._reach(client, self.patience):
                if lost and lost not in self.waiting:  # another server has taken it over
                    await _cancel(client, lost.prompt_ids.pop(url, None))
                    lost = None
                work = await self._take(url, lost)
                if work is None:
                    return
                lost = await self._attempt(client, work)
                if lost:
                    back = await self._reach(client, GRACE)
                    self.waiting.appendleft(lost)
                    if not back:
                        self._wake()
        self.urls.discard(url)
        self._drop_hopeless()

    async def _reach(self, client: ComfyClient, patience: float) -> bool:
        """Wait until a server answers, at growing intervals; False if it has not in so many seconds, or all is settled."""
        deadline, pause, url = time.monotonic() + patience, 0.5, client.base_url
        while not self.settled.is_set():
            try:
                await client.get("/system_stats")
                if self.why_away.pop(url, None):
                    self.board.say(f"{url} answers.")
                return True
            except ComfyError as error:
                if url not in self.why_away:
                    self.board.say(f"Waiting for {url}, up to {self.patience:.0f} s: {error}")
                self.why_away[url] = str(error)
            if time.monotonic() + pause > deadline:
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.settled.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _take(self, url: str, preferred: Work | None) -> Work | None:
        """The next job for a server; None when all are settled."""
        while not self.settled.is_set():
            for work in [preferred, *self.waiting]:
                if work in self.waiting and url not in work.refusals:
                    self.waiting.remove(work)
                    return work
            await self.changed.wait()
        return None

    async def _attempt(self, client: ComfyClient, work: Work) -> Work | None:
        """Make one job; returns it if the server was lost meanwhile."""
        try:
            await make(client, work, self.board)
        except ServerUnreachable:
            self.board.leave(work.job.name, settled=False)
            return work
        except PromptRejected as error:
            work.refusals[client.base_url] = str(error)
            self.board.leave(work.job.name, settled=False)
            self.waiting.append(work)
            self._drop_hopeless()
        except (ComfyError, OSError, StorageError) as error:
            self._settle(work, str(error))
        else:
            self._settle(work)
        return None

    def _drop_hopeless(self) -> None:
        """Settle the jobs that no server is left for: each refused them or stayed away."""
        for work in [work for work in self.waiting if not self.urls - work.refusals.keys()]:
            self.waiting.remove(work)
            away = [f"no answer in {self.patience:.0f} s. {why}" for why in self.why_away.values()]
            self._settle(work, "\n".join(dict.fromkeys([*work.refusals.values(), *away])))
        self._wake()

    def _settle(self, work: Work, failure: str = "") -> None:
        name = work.job.name
        self.board.leave(name, settled=True)
        self.open -= 1
        self.tries[name] = work.posts
        if failure:
            self.failures[name] = failure
        else:
            self.made.append(name)
        self.board.say(f"{name}: {'failed' if failure else f'done, {work.job.video}'}")
        if not self.open:
            self.settled.set()
            self._wake()

    def _wake(self) -> None:
        """Let servers that wait for a job look again."""
        self.changed.set()
        self.changed = asyncio.Event()


async def make(client: ComfyClient, work: Work, board: Board) -> None:
    """Post a job, or take up the prompt that the server still has of it, and fetch the video."""
    job, prompt_id = work.job, work.prompt_ids.get(client.base_url)
    try:
        if prompt_id is None or not await client.rejoin(prompt_id):
            if work.posts == MOST_POSTS:
                raise ComfyError(f"the server was lost each of the {MOST_POSTS} times that this ran")
            graph, missing = await with_names_of(client, await upload(client, job), job.filled.paths)
            if work.prefix:
                graph[only(graph, "SaveVideo")]["inputs"]["filename_prefix"] = work.prefix
            made = await made_with(client, job.filled.graph, job.filled.paths)
            prompt_id = work.prompt_ids[client.base_url] = str(uuid.uuid4())
            work.posts += 1
            try:
                await client.queue(graph, prompt_id)
            except PromptRejected as error:
                sources = SOURCES.get(job.about.get("model"), {})
                raise explained(error, graph, missing, sources, job.filled.paths) from None
            pace = Pace()
            work.made[client.base_url] = made | {"seconds_per_step": UNKNOWN, "filled": graph}

            def step(progress: Progress) -> None:
                pace.see(progress)
                board.step(job.name, progress, pace)

            await client.follow(prompt_id, step)
            if pace.seconds is not None:
                work.made[client.base_url]["seconds_per_step"] = round(pace.seconds, 3)
        files = {file.node_id: file for file in await client.outputs(prompt_id)}
        save = only(job.filled.graph, "SaveVideo")
        if save not in files:
            raise ComfyError(f"node {save} (SaveVideo) saved no file")
        content = await client.download(files[save])
        job.keep(content, work.called or client.base_url, files[save], work.made.get(client.base_url))
    except asyncio.CancelledError:
        await _cancel(client, prompt_id)
        raise


async def upload(client: ComfyClient, job: Job) -> dict:
    """Put the files of a job on a server; returns its graph with the names that they have there."""
    graph = copy.deepcopy(job.filled.graph)
    for name, path in job.filled.uploads.items():
        there = await client.upload_image(path, name.removeprefix(f"{UPLOADS}/"), UPLOADS, overwrite=False)
        for node in graph.values():
            texts = {slot: text for slot, text in node["inputs"].items() if isinstance(text, str)}
            node["inputs"] |= {slot: text.replace(name, there) for slot, text in texts.items()}
    return graph


async def _cancel(client: ComfyClient, prompt_id: str | None) -> None:
    """Take a prompt from a server that may be away."""
    if prompt_id:
        with contextlib.suppress(ComfyError, asyncio.TimeoutError):
            await asyncio.wait_for(client.cancel(prompt_id), 10)
