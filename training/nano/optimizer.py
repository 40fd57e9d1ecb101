"""Muon for what is a matrix, AdamW for the rest: small networks from scratch learn several times faster than by AdamW alone."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """PyTorch's two optimisers under one learning rate; kernels of convolutions count as matrices [out, in * taps].

    Args:
        parameters: contiguous, on their device already.
        lr: for both; Muon's updates are scaled to the size of AdamW's (``match_rms_adamw``).
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float = 1e-3):
        parameters = list(parameters)
        super().__init__(parameters, {"lr": lr})
        self.matrices = [p for p in parameters if p.ndim > 1 and min(p.shape[0], p[0].numel()) > 1]
        known = {id(matrix) for matrix in self.matrices}
        self.views = [Parameter(matrix.data.view(matrix.shape[0], -1)) for matrix in self.matrices]
        others = [p for p in parameters if id(p) not in known]
        self.parts = {"muon": Muon(self.views, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")}
        if others:  # the factors of a LoRA are all matrices
            self.parts["adamw"] = AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of both."""
        for matrix, view in zip(self.matrices, self.views):
            view.grad = None if matrix.grad is None else matrix.grad.reshape(view.shape)
        for part in self.parts.values():
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            part.step()

    def state_dict(self) -> dict:
        """The states of both."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from there."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
