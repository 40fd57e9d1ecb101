"""A running mean of trained weights, which a run can be judged and saved by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter


class Average:
    """Exponential running mean in float32.

    Args:
        trained: the weights, by name; the mean begins with them.
        decay: in (0, 1): what of the mean is kept in a step. The first steps keep less, (1 + step) / (10 + step), so that
            the beginning does not stay in it.
    """

    def __init__(self, trained: Mapping[str, Parameter], decay: float):
        self.trained, self.decay = trained, decay
        self.mean = {name: parameter.detach().clone() for name, parameter in trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.trained.items():
            self.mean[name].lerp_(parameter, share)

    def load(self, mean: Mapping[str, Tensor]) -> None:
        """Go on from a mean that was saved."""
        for name, value in mean.items():
            self.mean[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the mean stands in the place of the weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self.trained.items():
            parameter.data, self.mean[name] = self.mean[name], parameter.data
