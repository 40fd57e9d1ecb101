"""Encoded clips on disk: a latent per clip, an embedding per distinct caption, and an index.

    STORE/index.json                 what is in it, how it was made, and the hash of it all
    STORE/latents/NAME-HASH.safetensors    `latent` [C, T, h, w] after process_latent_in; of Mochi as the VAE makes it
    STORE/prompts/HASH.safetensors   `context` [L, width], zero rows at its end left out; metadata `length` = L

Every file is complete or not there, and a latent's file says all that the index says of it, so an interrupted run loses nothing.
What a killed run left unfinished counts as nothing, and goes with the next write into its folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import safetensors
from torch import Tensor

from ..pusa_model.storage.files import is_part, make_folder
from ..pusa_model.storage.tensor_hash import tensor_hash
from ..schedulers import InputError
from .files import write_json, write_tensors

VERSION = 1
INDEX, LATENTS, PROMPTS = "index.json", "latents", "prompts"
_ITEM = "pusa_item"
_EVERY = 100  # clips between two writes of the index


class StoreWriter:
    """Adds clips to a store; use it as a context manager, which writes the index at the end.

    Args:
        folder: the store; made if it is not there, continued if it is.
        how: plain values that say how clips are encoded (sizes, files and their hashes).

    Raises:
        InputError: the folder holds a store that was made in another way, or something else, or cannot be written to.
    """

    def __init__(self, folder: str | Path, how: dict | None = None):
        self.folder = Path(folder)
        self.how = json.loads(json.dumps(how or {}))
        self.items: dict[str, dict] = {}
        make_folder(self.folder / INDEX, str(self.folder))
        new = not (self.folder / INDEX).exists()
        if new and not all(is_part(path.name) for path in self.folder.iterdir()):
            raise InputError(f"{self.folder} is neither empty nor a store of encoded clips; give another folder.")
        for path in sorted((self.folder / LATENTS).glob("*.safetensors")):
            item = _stored_item(path)
            if item is not None:
                self.items[item["name"]] = item
        if self.items:
            self._check_how(read_index(self.folder)["how"])
        self.write_index()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.write_index()

    def has(self, name: str, caption: str, source: str = "") -> bool:
        """Whether a clip is in the store already, with this caption, its embedding, and this state of its file."""
        item = self.items.get(name)
        same = bool(item) and (item["prompt"], item["source"]) == (prompt_key(caption), source)
        return same and is_whole(self.folder / PROMPTS / f"{item['prompt']}.safetensors", "context")

    def add(self, name: str, latent: Tensor, caption: str, embedding: Tensor | Callable[[], Tensor], source: str = "") -> None:
        """Store one clip.

        Args:
            name: of the clip, unique in the store; a second one replaces the first.
            latent: [C, T, h, w] as the network sees given frames (see above); stored in its own dtype.
            caption: its words; clips with the same words share one embedding.
            embedding: prompt embedding [L, width], or a function that makes it, called only if the caption is new.
            source: anything that tells whether the clip's file has changed.

        Raises:
            InputError: a tensor has another number of axes.
        """
        _check_axes(name, "latent", latent, "C, T, h, w", 4)
        self.add_prompt(caption, embedding)
        item = {
            "name": name,
            "file": _file_name(name),
            "shape": list(latent.shape),
            "sha256": tensor_hash(latent),
            "prompt": prompt_key(caption),
            "caption": caption,
            "source": source,
        }
        write_tensors(self.folder / LATENTS / item["file"], {"latent": latent}, {_ITEM: json.dumps(item)})
        self.items[name] = item
        self._unwritten += 1
        if self._unwritten >= _EVERY:
            self.write_index()

    def add_prompt(self, caption: str, embedding: Tensor | Callable[[], Tensor]) -> None:
        """Store the embedding [L, width] of a caption, unless it is there; that of "" serves caption dropout."""
        path = self.folder / PROMPTS / f"{prompt_key(caption)}.safetensors"
        if is_whole(path, "context"):
            return
        embedding = embedding() if callable(embedding) else embedding
        _check_axes(caption[:40], "embedding", embedding, "L, width", 2)
        used = embedding.ne(0).any(1).nonzero()
        rows = int(used[-1]) + 1 if len(used) else 1
        metadata = {"length": str(embedding.shape[0]), "caption": caption}
        write_tensors(path, {"context": embedding[:rows].clone()}, metadata)

    def _check_how(self, found: dict) -> None:
        differing = sorted(key for key in {*found, *self.how} if found.get(key) != self.how.get(key))
        if differing:
            raise InputError(
                f"{self.folder} holds clips encoded in another way: "
                + ", ".join(f"{key} is {found.get(key)} there, {self.how.get(key)} here" for key in differing)
                + ". Give another folder, or the same options."
            )

    def write_index(self) -> None:
        """Write index.json."""
        items = [self.items[name] for name in sorted(self.items)]
        content = {"version": VERSION, "how": self.how, "dataset_hash": dataset_hash(items), "items": items}
        write_json(self.folder / INDEX, content)
        self._unwritten = 0


def is_whole(path: Path, key: str, shape: tuple[int, ...] | None = None) -> bool:
    """Whether a file can be opened, has its whole length, and holds a tensor of this name and shape (any if None)."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:  # the library holds the header against the length of the file
            found = tuple(file.get_slice(key).get_shape())
    except (OSError, safetensors.SafetensorError):
        return False
    return shape is None or found == shape


def prompt_key(caption: str) -> str:
    """Name that a caption's embedding is stored under."""
    return hashlib.sha256(caption.encode()).hexdigest()[:32]


def dataset_hash(items: list[dict]) -> str:
    """Hash of what a network trained on these clips sees: names, latents and captions, in the order of the names."""
    lines = sorted(f"{item['name']}\t{item['sha256']}\t{item['prompt']}" for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_index(folder: str | Path) -> dict:
    """Content of a store's index.

    Raises:
        InputError: there is none, or it is of another version.
    """
    path = Path(folder) / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index["version"]
    except FileNotFoundError:
        raise InputError(f"{folder} holds no encoded clips (no {INDEX}). Make them: python -m training.encode") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if version != VERSION:
        raise InputError(f"{path} is of version {version}; this trainer reads version {VERSION}. Encode again.")
    return index


def _stored_item(path: Path) -> dict | None:
    """What a latent's file says of its clip; None if it is damaged, so that the clip is encoded again."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})[_ITEM])
    except (safetensors.SafetensorError, LookupError, ValueError):
        return None


def _check_axes(name: str, kind: str, tensor: Tensor, axes: str, count: int) -> None:
    if tensor.ndim != count:
        raise InputError(f"{name}: the {kind} has the shape {tuple(tensor.shape)}; [{axes}] is needed.")


def _file_name(name: str) -> str:
    """A file name that is legal everywhere, readable, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem)[:40].strip("-")
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.safetensors"
