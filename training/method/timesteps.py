"""The noise levels that a network is trained on: one per latent frame, from the shifted distribution."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import comfy.samplers
import torch
from torch import Generator, Tensor

from ...pusa_model.families.table import FLOW_MATCH, WAN, Family
from ...schedulers import InputError, flow_match_sigmas
from ..settings import Settings

GRID = 1000  # levels that the official schedule is drawn from


def level_grid(shift: float, family: Family = WAN) -> Tensor:
    """The levels a draw can give: ``sigma = shift u / (1 + (shift - 1) u)`` for u = 1, 0.999, ... 0.001.

    For a family whose scheduler has no shift they are those of that scheduler at 1000 steps.

    Returns:
        Falling levels shaped [1000], float32, from exactly 1, or as many as the family is trained on; 0 is left out.
    """
    return scheduled(shift, family.scheduler)[: family.trained]


@lru_cache(maxsize=8)
def scheduled(shift: float, scheduler: str) -> Tensor:
    """Levels of a scheduler at 1000 steps, [1001], from 1 to 0."""
    if scheduler == FLOW_MATCH:
        return flow_match_sigmas(GRID, shift)
    return comfy.samplers.SCHEDULER_HANDLERS[scheduler].handler(SimpleNamespace(sigma_max=torch.tensor(1.0)), GRID)


def draw_levels(settings: Settings, batch: int, frames: int, generator: Generator, family: Family = WAN) -> Tensor:
    """Levels of a batch of clips.

    An index is drawn evenly into the levels of ``level_grid``, for every frame on its own (``vector``) or once for all frames of
    a clip (``scalar``, and with probability ``1 - p_async`` in ``vector``). At shift 5 the mean level is 0.748.

    With probability ``p_condition`` a clip is drawn as it will be sampled instead: its frames share one level s, but for 1 to
    T / 2 of them: the first ones, the last ones, or frames anywhere, a third of the clips each. Those are condition frames at
    level ``m s``. The multiplier m is 0 for all of them in every other clip; else it is 0 for half of them and even in [0, 1) for
    the rest. Drawn apart, a frame is as good as clean once in 50 times and its neighbours hardly ever share a level; a
    small network does not learn from that what to do with clean frames (``assets/nano``).

    Returns:
        Levels in [0, 1], float32: [batch, frames] for ``vector``, [batch, 1] for ``scalar``; 0 for clean condition frames only.

    Raises:
        InputError: no level of the grid lies in the range of the settings.

    Source: the official trainer of Pusa V1.0, without its rounding of the timestep to bfloat16, and that of V0.5. p_async and
    PTSS: FVDM (arXiv 2410.03160), section on probabilistic timestep sampling. p_condition is ours.
    """
    grid = level_grid(settings.shift, family)
    inside = grid[(grid >= settings.sigma_min) & (grid <= settings.sigma_max)]
    if not len(inside):
        raise InputError(
            f"no noise level lies between `sigma_min` {settings.sigma_min:g} and `sigma_max` {settings.sigma_max:g}; widen them."
        )
    shared = _draw(inside, (batch, 1), generator)
    if settings.timesteps == "scalar":
        return shared
    if settings.sigma_range == "frame":
        apart = _draw(inside, (batch, frames), generator)
    else:
        apart = _draw(grid[grid <= settings.sigma_max], (batch, frames), generator)
        apart = _lift_one(apart, shared, settings.sigma_min, generator)
    levels = torch.where(torch.rand(batch, 1, generator=generator) < settings.p_async, apart, shared)
    if not settings.p_condition:
        return levels
    sampled = shared * _draw_multipliers(batch, frames, generator)
    return torch.where(torch.rand(batch, 1, generator=generator) < settings.p_condition, sampled, levels)


def _draw(levels: Tensor, shape: tuple[int, int], generator: Generator) -> Tensor:
    return levels[torch.randint(len(levels), shape, generator=generator)]


def _draw_multipliers(batch: int, frames: int, generator: Generator) -> Tensor:
    """Multipliers [batch, frames] of the level: 1, and for 1 to frames / 2 condition frames 0 or in [0, 1)."""
    number = torch.arange(frames)
    anywhere = torch.rand(batch, frames, generator=generator).argsort(1).argsort(1)
    ranks = torch.stack([anywhere, number.expand(batch, -1), (frames - 1 - number).expand(batch, -1)])
    rank = ranks[torch.randint(3, (batch,), generator=generator), torch.arange(batch)]
    count = 1 + (torch.rand(batch, 1, generator=generator) * (frames // 2)).long()
    multiplier = torch.rand(batch, frames, generator=generator)
    share = 0.5 + 0.5 * torch.randint(2, (batch, 1), generator=generator)
    clean = torch.rand(batch, frames, generator=generator) < share
    return torch.where(rank < count.clamp(max=frames - 1), multiplier.masked_fill(clean, 0.0), 1.0)


def _lift_one(levels: Tensor, level: Tensor, least: float, generator: Generator) -> Tensor:
    """Clips [B, T] whose frames all lie below ``least`` get the level [B, 1] at one frame, chosen evenly."""
    frame = torch.randint(levels.shape[1], (levels.shape[0], 1), generator=generator)
    lifted = levels.scatter(1, frame, level)
    return torch.where((levels < least).all(1, keepdim=True), lifted, levels)
