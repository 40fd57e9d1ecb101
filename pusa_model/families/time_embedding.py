"""A timestep per frame for networks that embed one number per row: VACE and Camera.

They embed a flat vector, and then divide axis 1 of what comes of it in six. They get the timesteps [B T] flat, and two forwards of
their time embedding are exchanged on the clone, so that the blocks, those of VACE and the head see [B, T, 6, C] and [B, T, C],
which their own code takes. No module is moved: key names, LoRA and offloading stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from einops import rearrange
from torch import Tensor, nn

from ...schedulers import InputError
from .exchanged import exchange

FORWARDS = tuple(f"diffusion_model.{name}.forward" for name in ("time_embedding", "time_projection"))
_rows: ContextVar[int | None] = ContextVar("pusa_rows_of_call", default=None)


class PerFrame(Tensor):
    """Projected embeddings [B, T, 6 C] in the hands of code that was written for [B, 6 C]."""

    def unflatten(self, dim: int, sizes) -> Tensor:
        """Divide the last axis, whichever is asked for."""
        return self.as_subclass(Tensor).unflatten(-1, sizes)


def exchange_forwards(patched) -> None:
    """Exchange the forwards of the time embedding of a cloned MODEL.

    Raises:
        InputError: another pack has exchanged them before.
    """
    taken = [name for name in FORWARDS if name in patched.object_patches]
    if taken:
        raise InputError(
            f"another node has replaced `{taken[0]}` of the model, which per-frame timesteps need here. Remove the node that "
            "patches the model, or sample without a condition."
        )
    for name, forward in zip(FORWARDS, (embedding_forward, projection_forward)):
        exchange(patched, name, forward)


@contextmanager
def rows_of_call(batch: int) -> Iterator[None]:
    """Around a call of the network with timesteps [B T] in place of [B]."""
    token = _rows.set(batch)
    try:
        yield
    finally:
        _rows.reset(token)


def embedding_forward(module: nn.Module, features: Tensor) -> Tensor:
    """``time_embedding``: features [B T, F] to embeddings [B, T, C], or [B, F] to [B, C] outside of such a call."""
    embedded, batch = type(module).forward(module, features), _rows.get()
    return embedded if batch is None else rearrange(embedded, "(b t) c -> b t c", b=batch)


def projection_forward(module: nn.Module, embedded: Tensor) -> Tensor:
    """``time_projection``: embeddings [B, T, C] to [B, T, 6 C], whose last axis will be divided."""
    projected = type(module).forward(module, embedded)
    return projected if _rows.get() is None else projected.as_subclass(PerFrame)
