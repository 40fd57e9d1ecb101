"""Which clips a step sees, and the seeds of what it draws: functions of the seed and the step, so nothing needs to be replayed."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import torch
from torch import Generator


def generator(*parts: int | str) -> Generator:
    """A CPU generator whose seed is a hash of the parts, for example ("noise", seed, step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:4], "little"))


class Order:
    """The batches of a run. An epoch shows every clip once, in an order of its own, with clips of one shape in a batch."""

    def __init__(self, shapes: Sequence[Hashable], batch_size: int, seed: int):
        self.batch_size, self.seed = batch_size, seed
        groups: dict[Hashable, list[int]] = {}
        for index, shape in enumerate(shapes):
            groups.setdefault(shape, []).append(index)
        self.groups = list(groups.values())
        self.per_epoch = sum(-(-len(group) // batch_size) for group in self.groups)
        self._epoch, self._batches = -1, []

    def batch(self, number: int) -> list[int]:
        """Clips of the batch with this number, counted from 0 over all epochs."""
        epoch, position = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[position]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch; the last of a shape is filled up from the first clips of that shape."""
        draws = generator("order", self.seed, epoch)
        batches = []
        for group in self.groups:
            clips = [group[index] for index in torch.randperm(len(group), generator=draws).tolist()]
            count = -(-len(clips) // self.batch_size)
            filled = [clips[index % len(clips)] for index in range(count * self.batch_size)]
            batches += [filled[start : start + self.batch_size] for start in range(0, len(filled), self.batch_size)]
        return [batches[index] for index in torch.randperm(len(batches), generator=draws).tolist()]
