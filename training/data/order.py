"""Which clips a step sees, and the seeds of what it draws: functions of the seed and the step, so nothing needs to be replayed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Generator


def generator(*parts: int | str) -> Generator:
    """A CPU generator whose seed is a hash of the parts, for example ("noise", seed, step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:4], "little"))


class Order:
    """The batches of a run. An epoch shows every clip once, in an order of its own, with clips of one shape in a batch.

    The last batch of a shape has the clips that are left, so it may be smaller. Processes and accumulated passes take batches
    one after the other, of whatever shapes.
    """

    def __init__(self, shapes: Sequence[Hashable], batch_size: int, seed: int):
        self.batch_size, self.seed = batch_size, seed
        groups: dict[Hashable, list[int]] = {}
        for index, shape in enumerate(shapes):
            groups.setdefault(shape, []).append(index)
        self.groups = list(groups.values())
        self.per_epoch = sum(-(-len(group) // batch_size) for group in self.groups)
        self._epochs: dict[int, list[list[int]]] = {}

    def batch(self, number: int) -> list[int]:
        """Clips of the batch with this number, counted from 0 over all epochs and processes; 1 to ``batch_size`` of them."""
        epoch, position = divmod(number, self.per_epoch)
        if epoch not in self._epochs:
            newest = max(self._epochs, default=epoch)  # a step may lie in two epochs, so two are kept
            self._epochs = {newest: self._epochs[newest]} if self._epochs else {}
            self._epochs[epoch] = self._shuffled(epoch)
        return self._epochs[epoch][position]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        draws = generator("order", self.seed, epoch)
        batches = []
        for group in self.groups:
            clips = [group[index] for index in torch.randperm(len(group), generator=draws).tolist()]
            batches += [clips[start : start + self.batch_size] for start in range(0, len(clips), self.batch_size)]
        return [batches[index] for index in torch.randperm(len(batches), generator=draws).tolist()]


def shares(shapes: Sequence[Sequence[int]]) -> str:
    """How many clips have which size, in words: ``29 of 21 x 60 x 104, 1 of 1 x 60 x 104`` (latent frames, height, width)."""
    counted = Counter(tuple(shape)[1:] for shape in shapes).most_common()
    return ", ".join(f"{number} of {' x '.join(map(str, size))}" for size, number in counted)
