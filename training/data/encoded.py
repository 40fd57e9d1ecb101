"""Encoded clips as a torch data set: from a store on disk, or from tensors in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...pusa_model.storage.tensor_hash import tensor_hash
from ...schedulers import InputError
from ..store import LATENTS, PROMPTS, dataset_hash, is_whole, prompt_key, read_index

_AGAIN = "Run the same python -m training.encode again: it encodes what is missing or damaged, and nothing else."


class EncodedDataset(Dataset):
    """Clips of a store as (latent [C, T, h, w], context [L, width]), in the order of their names.

    Args:
        folder: a store that ``training.encode`` or ``StoreWriter`` made.
        preload: read everything now and keep it in memory.

    Attributes:
        shapes: of the latents, one per clip.
        empty: embedding [L, width] of the empty prompt, or None if the store has none.
        hash: of names, latents and captions.

    Raises:
        InputError: the folder is no store, or is empty.
    """

    def __init__(self, folder: str | Path, preload: bool = False):
        self.folder = Path(folder)
        index = read_index(self.folder)
        self.items, self.hash = index["items"], index["dataset_hash"]
        if not self.items:
            raise InputError(f"{folder} holds no clips. See what python -m training.encode says of each.")
        self.shapes = [tuple(item["shape"]) for item in self.items]
        empty = self.folder / PROMPTS / f"{prompt_key('')}.safetensors"
        self.empty = read_prompt(empty) if empty.exists() else None
        self._latents: list[Tensor] | None = None
        if preload:
            self._contexts = {key: self._read_context(key) for key in {item["prompt"] for item in self.items}}
            self._latents = [self._read_latent(item) for item in self.items]

    @classmethod
    def from_tensors(
        cls,
        latents: Tensor | Sequence[Tensor],
        contexts: Tensor | Sequence[Tensor],
        prompts: Sequence[int],
        empty: Tensor | None = None,
    ) -> EncodedDataset:
        """A data set in memory.

        Args:
            latents: N latents [C, T, h, w] as the network sees given frames, which is how a store has them.
            contexts: M embeddings [L, width].
            prompts: for each clip, which of the embeddings is its own.
            empty: embedding of the empty prompt, for caption dropout.
        """
        made = cls.__new__(cls)
        made.folder, made.empty = None, empty
        made.items = [{"name": f"{index:08}", "prompt": int(prompt)} for index, prompt in enumerate(prompts)]
        made.shapes = [tuple(latent.shape) for latent in latents]
        if len(made.shapes) != len(made.items) or not made.items:
            raise InputError(f"{len(made.shapes)} latents for {len(made.items)} prompts; as many of each are needed, 1 or more.")
        made._latents, made._contexts = list(latents), dict(enumerate(contexts))
        words = {index: tensor_hash(context) for index, context in made._contexts.items()}
        made.hash = dataset_hash(
            [item | {"sha256": tensor_hash(latent), "prompt": words[item["prompt"]]} for item, latent in zip(made.items, latents)]
        )
        return made

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One clip: (latent [C, T, h, w], context [L, width])."""
        item = self.items[index]
        if self._latents is None:
            return self._read_latent(item), self._read_context(item["prompt"])
        return self._latents[index], self._contexts[item["prompt"]]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Clips of one shape: latents [B, C, T, h, w] and contexts [B, L, width], shorter ones filled up with zero rows."""
        latents, contexts = zip(*(self[index] for index in indices))
        longest = max(context.shape[0] for context in contexts)
        return torch.stack(latents), torch.stack([padded(context, longest) for context in contexts])

    def check_files(self) -> None:
        """Open every file of the store, and hold what it says against the index; no tensor is read.

        Raises:
            InputError: names files that are missing or damaged.
        """
        if self.folder is None:
            return
        wanted = {self.folder / LATENTS / item["file"]: ("latent", tuple(item["shape"])) for item in self.items}
        wanted |= {self.folder / PROMPTS / f"{item['prompt']}.safetensors": ("context", None) for item in self.items}
        bad = [path for path, (key, shape) in wanted.items() if not is_whole(path, key, shape)]
        if bad:
            named = ", ".join(str(path.relative_to(self.folder)) for path in bad[:5])
            raise InputError(
                f"{len(bad)} of {len(wanted)} files of {self.folder} are missing or damaged: {named}"
                f"{' ...' if len(bad) > 5 else ''}. {_AGAIN}"
            )

    def _read_latent(self, item: dict) -> Tensor:
        return _read(self.folder / LATENTS / item["file"], "latent")[0]

    def _read_context(self, key: str) -> Tensor:
        return read_prompt(self.folder / PROMPTS / f"{key}.safetensors")


def read_prompt(path: Path) -> Tensor:
    """A stored embedding [L, width], with the zero rows at its end that were left out of the file."""
    context, metadata = _read(path, "context")
    return padded(context, int(metadata["length"]))


def padded(context: Tensor, length: int) -> Tensor:
    """An embedding [L, width] with zero rows up to a length, as ComfyUI's umT5 fills up prompts."""
    return torch.nn.functional.pad(context, (0, 0, 0, length - context.shape[0])) if context.shape[0] < length else context


def _read(path: Path, key: str) -> tuple[Tensor, dict]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.get_tensor(key), file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}). {_AGAIN}") from error
