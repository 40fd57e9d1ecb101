"""Several data sets as one, and a part of one held out of training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ...schedulers import InputError
from .encoded import EncodedDataset, padded
from .order import generator


class Joined:
    """Clips of several data sets, each shown so often in an epoch.

    Attributes:
        shapes, empty, hash: as of an ``EncodedDataset``; ``empty`` is that of the first that has one.
        chosen: (data set, clip in it) of every clip here.
    """

    def __init__(self, parts: Sequence[EncodedDataset], chosen: Sequence[tuple[int, int]], label: str = ""):
        self.parts, self.chosen = list(parts), list(chosen)
        self.shapes = [self.parts[part].shapes[index] for part, index in self.chosen]
        self.empty = next((part.empty for part in self.parts if part.empty is not None), None)
        seen = [*(part.hash for part in self.parts), label]
        self.hash = hashlib.sha256("\n".join(seen).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One clip: (latent [C, T, h, w], context [L, width])."""
        part, clip = self.chosen[index]
        return self.parts[part][clip]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Clips of one shape: latents [B, C, T, h, w] and contexts [B, L, width], shorter ones filled up with zero rows."""
        latents, contexts = zip(*(self[index] for index in indices))
        longest = max(context.shape[0] for context in contexts)
        return torch.stack(latents), torch.stack([padded(context, longest) for context in contexts])

    def check_files(self) -> None:
        """As ``EncodedDataset.check_files``, for all of them."""
        for part in self.parts:
            part.check_files()


def joined(parts: Sequence[EncodedDataset], repeats: Sequence[int] | None = None) -> EncodedDataset | Joined:
    """Several data sets as one; a single one that is shown once stays what it is.

    Args:
        repeats: how often an epoch shows the clips of each; once if None.

    Raises:
        InputError: not one number from 1 on for each.
    """
    repeats = list(repeats) if repeats is not None else [1] * len(parts)
    if len(repeats) != len(parts) or min(repeats, default=0) < 1:
        raise InputError(
            f"`repeats` is {','.join(map(str, repeats))}; give one number from 1 on for each of the {len(parts)} stores."
        )
    if repeats == [1]:
        return parts[0]
    chosen = [(part, clip) for part, times in enumerate(repeats) for _ in range(times) for clip in range(len(parts[part]))]
    return Joined(parts, chosen, f"repeats {repeats}")


def held_out(dataset: EncodedDataset | Joined, share: float) -> tuple[Joined, Joined]:
    """A data set in two: what is trained on, and a share of 1 clip or more that is not.

    Which clips are held out follows from how many there are. Copies of a clip that is shown several times lie on the same side.

    Args:
        share: above 0 and below 1.

    Raises:
        InputError: there are fewer than two clips.
    """
    parts, chosen = (
        (dataset.parts, dataset.chosen) if isinstance(dataset, Joined) else ([dataset], [(0, i) for i in range(len(dataset))])
    )
    clips = sorted(set(chosen))
    if len(clips) < 2:
        raise InputError("`validate`: there is one clip only, so none can be held out; give a store of other clips.")
    count = min(len(clips) - 1, max(1, round(share * len(clips))))
    out = {clips[index] for index in torch.randperm(len(clips), generator=generator("held out", len(clips)))[:count].tolist()}
    kept = [clip for clip in chosen if clip not in out]
    return Joined(parts, kept, f"{dataset.hash} without {count}"), Joined(parts, sorted(out), f"{dataset.hash} only {count}")
