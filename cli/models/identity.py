"""What a video was made with: model files, versions, device; and jobs whose model files are others by now."""

import contextlib
import re

from hosting.process import ROOT

from ..client import ComfyClient, ComfyError
from ..graph.files import listed_as
from ..jobs import Job, digest_of
from .names import model_inputs

UNKNOWN = "unknown"  # what a server cannot say
PATIENCE = 5.0  # seconds for the answer of a server that need not be there


class Files:
    """The files of one server, as it lists them; each folder is asked for once."""

    def __init__(self, client: ComfyClient, folders: dict | None = None):
        """`folders` are lists that are known already, {folder: {name: file}}."""
        self.client, self.folders = client, dict(folders or {})

    async def of(self, graph: dict, paths: dict) -> dict:
        """The files of a graph, by folder and name: {"name": on the server, "size": bytes, "modified": seconds}, or "unknown".

        Args:
            paths: name of a file -> path as it was given.
        """
        found = {}
        for _, _, folder, name in model_inputs(graph):
            listed = await self.listed(folder)
            found[f"{folder}/{name}"] = listed.get(listed_as(paths.get(name, name), [*listed]), UNKNOWN)
        return dict(sorted(found.items()))

    async def listed(self, folder: str) -> dict:
        """The files of a folder by name."""
        if folder not in self.folders:
            self.folders[folder] = await self._ask(folder)
        return self.folders[folder]

    async def _ask(self, folder: str) -> dict:
        try:
            files = await self.client.get(f"/experiment/models/{folder}")
            return {file["name"]: {what: file[what] for what in ("name", "size", "modified")} for file in reversed(files)}
        except (ComfyError, KeyError, TypeError):  # a server that has no such list
            return {}


async def made_with(client: ComfyClient, graph: dict, paths: dict) -> dict:
    """What goes into a record: the files of a graph, versions, and the device that the server samples on."""
    try:
        stats = await client.get("/system_stats")
        comfyui, device = stats["system"]["comfyui_version"], stats["devices"][0]["name"]
    except (ComfyError, KeyError, IndexError, TypeError):
        comfyui = device = UNKNOWN
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    pack = {"of_the_command_line": version[1] if version else UNKNOWN, "of_the_server": UNKNOWN}
    return {"models": await Files(client).of(graph, paths), "comfyui": comfyui, "pack": pack, "device": device}


def replaced(recorded: dict, current: dict, same_server: bool) -> bool:
    """Whether a file is another one under its name. Copies on other servers have other times, so their sizes alone are compared."""
    what = ("size", "modified") if same_server else ("size",)
    pairs = [(recorded[name], current[name]) for name in recorded.keys() & current.keys()]
    known = [pair for pair in pairs if UNKNOWN not in pair]
    return any(before.get(key) != now.get(key) for before, now in known for key in what)


async def with_files_of_today(jobs: list, urls: list) -> list:
    """Jobs, each finished one under another name if a server has other files by now under the names that it was made from.

    The server that made a video is asked if it is one of these, else the first that answers; where none does, nothing changes.
    """
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for url in urls:
            client = await stack.enter_async_context(ComfyClient(url, PATIENCE))
            with contextlib.suppress(ComfyError):
                await client.get("/system_stats")
                servers[url] = Files(client)
        return [await of_today(job, servers) for job in jobs]


async def of_today(job: Job, servers: dict) -> Job:
    """A job, under another name if it is finished and a server has other files by now."""
    recorded, made_by = job.recorded("models"), job.recorded("server")
    if not servers or not isinstance(recorded, dict) or not job.finished():
        return job
    url = made_by if made_by in servers else next(iter(servers))
    now = await servers[url].of(job.filled.graph, job.filled.paths)
    return job.under(digest_of(now)[:8]) if replaced(recorded, now, url == made_by) else job
