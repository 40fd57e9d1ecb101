"""A graph while settings are put into it."""

import copy
import functools
import hashlib
import re
from pathlib import Path

from .geometry import MOCHI, factor_of
from .links import GraphError, copy_path, links, only, path_to, source_of
from .tasks import Task

UPLOADS = "pusa"  # subfolder of the server's input folder
LOADED = {"CLIPTextEncode": "text", "PusaLoadPrompt": "prompt_name", "LoadImage": "image", "LoadVideo": "file"}


class Filling:
    """A copy of a graph.

    Attributes:
        sampler: id of the node that samples, `inputs` are its.
        factor: frames of each latent frame but the first, which is one.
        uploads: name on the server -> file on this machine. The graph holds the names, alone or in a text.
        paths: name of a model file -> path as it was given.
    """

    def __init__(self, graph: dict, task: Task):
        self.graph, self.task = copy.deepcopy(graph), task
        self.sampler = only(graph, task.sampler)
        self.inputs = self.graph[self.sampler]["inputs"]
        self.factor = factor_of(graph)
        self.uploads, self.paths = {}, {}
        self._filled = {}

    def set(self, id: str, slot: str, types: tuple, value) -> None:
        """Put a value into the nearest node of these types behind a socket; into a copy of it if it has another value by now."""
        path = path_to(self.graph, id, slot, types)
        target = source_of(self.graph, path[-1])
        if self._filled.setdefault(target, value) != value:
            target = copy_path(self.graph, path)
            self._filled[target] = value
        node = self.graph[target]
        node["inputs"][LOADED[node["class_type"]]] = value

    def upload(self, id: str, slot: str, loader: str, path: Path) -> None:
        """Let a socket take a file of this machine."""
        self.set(id, slot, (loader,), self.remote(path))

    def remote(self, path: Path) -> str:
        """The name on the server of a file of this machine, which goes there with the graph."""
        name = f"{UPLOADS}/{upload_name(path)}"
        self.uploads[name] = path
        return name

    def latent(self, flag: str) -> dict:
        """The inputs of the node that says how large and long the video is."""
        source = links(self.graph[self.sampler]).get("latent_image")
        inputs = self.graph[source]["inputs"] if source in self.graph else {}
        if not {"width", "height", "length"} <= inputs.keys():
            raise GraphError(f"--{flag}: no empty latent with width, height and length is connected to {self.task.sampler}")
        if self.factor == MOCHI and self.graph[source]["class_type"] == "EmptyHunyuanLatentVideo":
            raise GraphError(f"--{flag}: a graph of Mochi takes EmptyMochiLatentVideo; EmptyHunyuanLatentVideo counts in fours")
        return inputs


@functools.cache
def upload_name(path: Path) -> str:
    """The name of a file on a server: another one for other content, so that nobody's file is replaced."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}") from None
    stem, suffix = (re.sub(r"[^A-Za-z0-9._-]", "_", part) for part in (path.stem, path.suffix.lower()))
    return f"{stem[:60]}-{digest.hexdigest()[:16]}{suffix}"
