"""One sampling run: what its wrappers share, and the proof that none of them was gone past.

The method is two halves in two wrappers: DIFFUSION_MODEL gives the network a timestep for each frame, PREDICT_NOISE maps what
comes of it. A guider or a network of another pack can go past either one. Clean frames would be exact all the same and the others
wrong without a word, so a run notes what was reached and stops where a half is missing. It judges the run and not the step: step
caches leave out the network on most steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..schedulers import InputError
from .paths.own_path import OwnPath
from .paths.table_path import TablePath

KEY = "pusa"
PAST_SAMPLING = (
    "the sampler goes past ComfyUI's OUTER_SAMPLE or SAMPLER_SAMPLE wrappers, so a part of the condition would be missing. Use a "
    "node that samples through ComfyUI's guiders, such as KSampler or SamplerCustomAdvanced."
)


@dataclass
class Run:
    """What the wrappers of one run share.

    Attributes:
        guider: the class that drives the run, by name.
        multipliers: m shaped [T], on the device of the run; None until the sampler has begun.
        shares: the level of each frame by that of the clock, [T], of the call under way; m but for frames of a table.
        own_path: of the condition frames, where they take one.
        table_path: of frames whose level is not a share of the clock.
        seen: latent frames [low, high) that the network is given in the call under way; None for all.
        clock: levels of the rows that fresh noise is counted by.
        retained: latent frames that every context window sees at its start.
    """

    guider: str
    multipliers: Tensor | None = None
    shares: Tensor | None = None
    own_path: OwnPath | None = None
    table_path: TablePath | None = None
    seen: tuple[int, int] | None = None
    clock: list[float] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)
    _predicting: int = 0
    _reached: bool = False

    @contextmanager
    def prediction(self) -> Iterator[None]:
        """Around the PREDICT_NOISE half.

        Raises:
            InputError: nothing has reached the network through the DIFFUSION_MODEL half in this run.
        """
        self._predicting += 1
        try:
            yield
        finally:
            self._predicting -= 1
        if not self._reached:
            raise InputError(
                "another node has replaced the forward of the model by one that runs none of ComfyUI's DIFFUSION_MODEL wrappers, "
                "so all frames would get one timestep. Remove the node that patches the model, or sample without a condition."
            )

    def reach(self) -> None:
        """At the DIFFUSION_MODEL half.

        Raises:
            InputError: the network is called outside of the PREDICT_NOISE half.
        """
        if not self._predicting:
            raise InputError(
                f"the guider {self.guider} calls the model past ComfyUI's PREDICT_NOISE wrappers, so half of the condition would "
                "be missing. Use CFGGuider or KSampler, or another guidance node."
            )
        self._reached = True

    def window(self, transformer_options: dict[str, Any], places: Tensor | None, device: torch.device) -> Tensor:
        """Shares [1 or B, t] of the frames that the network sees in this call.

        Args:
            transformer_options: of the call; hold the context window, whose anchor and retained frames count.
            places: [B, 1, t, h, w], integers: which of those frames a prompt for a part of the time is given.
            device: of the call, which with several GPUs is not that of the run.
        """
        window = transformer_options.get("context_window")
        multipliers = self.shares[None]
        if window is not None:
            multipliers = window.get_tensor(multipliers, dim=1, retain_index_list=self.retained)
        if places is not None:
            multipliers = multipliers[0, places[:, 0, :, 0, 0].to(multipliers.device)]
        return multipliers.to(device)


_under_way: ContextVar[bool] = ContextVar("pusa_run_under_way", default=False)


@contextmanager
def begun(guider, run: Run) -> Iterator[None]:
    """Put a run where all wrappers of a guider find it, and take it away again."""
    options = guider.model_options.setdefault("transformer_options", {})
    options[KEY] = run
    token = _under_way.set(True)
    try:
        yield
    finally:
        _under_way.reset(token)
        del options[KEY]


def check_begun(model) -> None:
    """What a MODEL with a condition asks when a sampler takes it into use (ON_PRE_RUN).

    Raises:
        InputError: the guider went past all wrappers of the model.
    """
    if not _under_way.get():
        raise InputError(f"Apply Condition (Pusa): {PAST_SAMPLING}")


def run_of(transformer_options: dict[str, Any], sampling: bool = True) -> Run:
    """The run that a call belongs to.

    Args:
        sampling: whether its sampler has begun.

    Raises:
        InputError: the sampling did not begin through the wrappers of a condition.
    """
    run = transformer_options.get(KEY)
    if run is None or sampling and run.multipliers is None:
        raise InputError(PAST_SAMPLING)
    return run
