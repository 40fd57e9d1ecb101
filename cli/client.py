"""A client for one ComfyUI server: upload, queue, follow, collect.

In short:

    async with ComfyClient("http://127.0.0.1:8188") as client:
        prompt_id = await client.queue(prompt)
        await client.follow(prompt_id, print)
        files = await client.outputs(prompt_id)
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from .track import Progress, Tracker, describe_rejection

TRANSFER = aiohttp.ClientTimeout(total=3600, sock_connect=30, sock_read=600)  # of a file, up or down
GATEWAY = (502, 503, 504)  # what a proxy says for a server that is away


class ComfyError(Exception):
    """Something the server refused or failed to do."""


class ServerUnreachable(ComfyError):
    """No server answers, or it went away."""


class PromptRejected(ComfyError):
    """The server refused a prompt, or a part of it.

    Attributes:
        error, node_errors: the server's own report, on the whole and by node id.
    """

    def __init__(self, error, node_errors: dict):
        self.error, self.node_errors = error, node_errors
        super().__init__(describe_rejection(error, node_errors))


class ExecutionFailed(ComfyError):
    """A node raised an error. `traceback` is the server's."""

    def __init__(self, event: dict):
        self.node_id, self.node_type = event.get("node_id"), event.get("node_type")
        self.exception_type = event.get("exception_type", "")
        self.message = event.get("exception_message", "").strip()
        self.traceback = "".join(event.get("traceback") or [])
        super().__init__(f"Node {self.node_id} ({self.node_type}) failed: {self.exception_type}: {self.message}")


class ExecutionInterrupted(ComfyError):
    """Someone stopped the prompt."""


@dataclass(frozen=True)
class OutputFile:
    """A file that a node of the graph saved."""

    node_id: str
    filename: str
    subfolder: str
    type: str

    def path(self, base_directory: Path) -> Path:
        """Where it lies on the server's own disk; `type` is output, temp or input."""
        return Path(base_directory) / self.type / self.subfolder / self.filename


class ComfyClient:
    """One connection to one server, as an asynchronous context manager."""

    silence = 30.0  # seconds without an event, after which the server is asked whether it still has the prompt

    def __init__(self, base_url: str, request_timeout: float = 60.0):
        self.base_url = base_url.rstrip("/")
        self.client_id = ""
        self._timeout = aiohttp.ClientTimeout(total=request_timeout)
        self._session = None
        self._reader = None
        # The server reports on all prompts of a client in one stream; each prompt gets its own queue of events.
        self._jobs: dict[str, Tracker] = {}

    async def __aenter__(self):
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *exception):
        if self._reader:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._session.close()

    async def upload_image(self, path, name: str | None = None, subfolder: str = "", overwrite: bool = True) -> str:
        """Put a file into the server's input folder; returns the name for a LoadImage or LoadVideo node.

        Without `overwrite`, a file there of the same content is taken as it is, and one of other content gets another name.
        """
        form = aiohttp.FormData()
        form.add_field("image", Path(path).read_bytes(), filename=name or Path(path).name)
        form.add_field("subfolder", subfolder)
        if overwrite:
            form.add_field("overwrite", "true")
        saved = await self._request("POST", "/upload/image", data=form, timeout=TRANSFER)
        return f"{saved['subfolder']}/{saved['name']}" if saved["subfolder"] else saved["name"]

    async def queue(self, prompt: dict, prompt_id: str | None = None) -> str:
        """Queue a graph in API format; returns its prompt id, a new one unless a UUID is given.

        Raises:
            PromptRejected: an output of the graph is invalid, also if the server would have run the others.
        """
        await self._connect()
        prompt_id = prompt_id or str(uuid.uuid4())
        self._jobs[prompt_id] = Tracker(prompt)
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": self.client_id}
        try:
            answer = await self._request("POST", "/prompt", json=body, refusals=(400,))
            if answer.get("error") or answer.get("node_errors"):
                await self.cancel(prompt_id)
                raise PromptRejected(answer.get("error"), answer.get("node_errors") or {})
        except BaseException:
            del self._jobs[prompt_id]
            raise
        return prompt_id

    async def follow(self, prompt_id: str, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Wait until a prompt that this client queued has run; raises what kept it from its end."""
        if prompt_id not in self._jobs:
            raise ComfyError(f"Prompt {prompt_id} is not one that this client queued and has not followed yet.")
        job = self._jobs[prompt_id]
        event, last = None, None
        try:
            while True:
                event = event or asyncio.ensure_future(job.events.get())
                # Not asyncio.wait_for: before Python 3.12 it forgets a cancellation that comes together with an event.
                if not (await asyncio.wait({event}, timeout=self.silence))[0]:
                    if await self._is_over(prompt_id):
                        return
                    continue
                (kind, data), event = event.result(), None
                if kind == "execution_success":
                    return
                raise_end(kind, data)
                if kind == "connection_lost":
                    raise ServerUnreachable(f"{self.base_url} closed the connection.")
                for progress in job.progress(kind, data):
                    if on_progress and progress != last:
                        on_progress(progress)
                    last = progress
        finally:
            if event:
                event.cancel()
            del self._jobs[prompt_id]

    async def rejoin(self, prompt_id: str, pause: float = 1.0) -> bool:
        """Wait for a prompt whose connection was lost; False if the server does not know it, for example after a restart.

        Raises what `follow` raises.
        """
        while prompt_id in await self._queued():
            await asyncio.sleep(pause)
        history = await self.get(f"/history/{prompt_id}")
        if prompt_id not in history:
            return False
        for kind, data in (history[prompt_id].get("status") or {}).get("messages", ()):
            raise_end(kind, data)
        return True

    async def outputs(self, prompt_id: str, timeout: float = 30.0) -> list[OutputFile]:
        """The files of a finished prompt, in the order the server gives them."""
        deadline = time.monotonic() + timeout
        # The history is written a moment after the websocket reports success.
        while not (history := await self.get(f"/history/{prompt_id}")):
            if time.monotonic() > deadline:
                raise ComfyError(f"The server's history has no prompt {prompt_id}.")
            await asyncio.sleep(0.05)
        return [
            OutputFile(node_id, file["filename"], file.get("subfolder", ""), file.get("type", "output"))
            for node_id, output in history[prompt_id]["outputs"].items()
            for entries in output.values()
            if isinstance(entries, list)
            for file in entries
            if isinstance(file, dict) and "filename" in file
        ]

    async def run(self, prompt: dict, on_progress: Callable[[Progress], None] | None = None) -> list[OutputFile]:
        """Queue, follow and collect in one call."""
        prompt_id = await self.queue(prompt)
        await self.follow(prompt_id, on_progress)
        return await self.outputs(prompt_id)

    async def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or stop it if it runs."""
        await self._request("POST", "/queue", json={"delete": [prompt_id]})
        await self._request("POST", "/interrupt", json={"prompt_id": prompt_id})
        if prompt_id not in await self._queued() and prompt_id in self._jobs:  # in this order: it may end while we ask
            # The server says nothing about a prompt that it had not begun.
            self._jobs[prompt_id].events.put_nowait(("execution_interrupted", {}))

    async def download(self, file: OutputFile) -> bytes:
        """The content of an output file."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        try:
            async with self._session.get(self.base_url + "/view", params=query, timeout=TRANSFER) as response:
                if response.status != 200:
                    raise ComfyError(f"GET /view of {file.filename}: {response.status} {response.reason}")
                return await response.read()
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable("GET", "/view", error) from None

    async def get(self, path: str):
        """The JSON at a path of the server, for example /object_info."""
        answer = await self._request("GET", path)
        if isinstance(answer, str):
            raise ComfyError(f"GET {path}: what answers at {self.base_url} is no ComfyUI, for it sends no JSON")
        return answer

    async def _request(self, method: str, path: str, refusals=(), **body):
        try:
            async with self._session.request(method, self.base_url + path, **body) as response:
                json = response.content_type == "application/json"
                if response.status == 200 or (json and response.status in refusals):
                    return await response.json() if json else await response.text()
                if response.status in GATEWAY:
                    raise ServerUnreachable(f"{method} {self.base_url}{path}: {response.status} {response.reason}")
                text = "" if response.content_type == "text/html" else (await response.text()).strip()[:500]
                raise ComfyError(f"{method} {path}: {response.status} {response.reason}. {text}".rstrip())
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable(method, path, error) from None

    def _unreachable(self, method: str, path: str, error: Exception) -> ServerUnreachable:
        return ServerUnreachable(f"{method} {self.base_url}{path}: {error or 'no answer in time'}")

    async def _is_over(self, prompt_id: str) -> bool:
        """Whether a prompt has run without a word; one that was taken from the queue before it began raises."""
        with contextlib.suppress(ServerUnreachable):  # busy; if it is gone, the connection says so
            if prompt_id in await self._queued():
                return False
            if not await self.rejoin(prompt_id):
                raise ExecutionInterrupted("The prompt was taken from the queue.")
            return True
        return False

    async def _queued(self) -> set:
        """The ids of the prompts that run or wait on the server."""
        queue = await self.get("/queue")
        return {item[1] for item in queue["queue_running"] + queue["queue_pending"]}

    async def _connect(self) -> None:
        """Open the websocket before anything is posted, so that no event is missed."""
        if self._reader and not self._reader.done():
            return
        # The server forgets an id when its first connection ends, even if a second one has taken it over.
        self.client_id = str(uuid.uuid4())
        url = f"{self.base_url}/ws?clientId={self.client_id}"
        try:
            # Previews come through here too; they may be of any size.
            socket = await self._session.ws_connect(url, max_msg_size=0, heartbeat=120)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable("GET", "/ws", error) from None
        self._reader = asyncio.create_task(self._read(socket))

    async def _read(self, socket) -> None:
        try:
            async with socket:
                async for message in socket:
                    if message.type != aiohttp.WSMsgType.TEXT:
                        continue
                    event = message.json()
                    job = self._jobs.get((event.get("data") or {}).get("prompt_id"))
                    if job:
                        job.events.put_nowait((event["type"], event["data"]))
        finally:
            for job in self._jobs.values():
                job.events.put_nowait(("connection_lost", {}))


def raise_end(kind: str, data: dict) -> None:
    """Raise the error that an event of the server means, if it means one."""
    if kind == "execution_error":
        raise ExecutionFailed(data)
    if kind == "execution_interrupted":
        raise ExecutionInterrupted("The prompt was cancelled.")
