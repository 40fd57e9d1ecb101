"""Flow matching with a level per frame: the noised clip, what the network should say of it, and the loss."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ...pusa_model.families.table import WAN, Family
from .timesteps import level_grid


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """``x_i = (1 - s_i) z_i + s_i eps_i`` for every latent frame.

    Args:
        clean: latents z as the network sees given frames, [B, C, T, h, w].
        noise: eps, standard normal, of the same shape.
        sigma: levels in [0, 1], [B, T] or [B, 1].

    Returns:
        Noised latents [B, C, T, h, w].

    Source: Pusa (arXiv 2507.16116), frame-aware flow matching.
    """
    level = sigma[:, None, :, None, None]
    return (1 - level) * clean + level * noise


def target(clean: Tensor, noise: Tensor, family: Family = WAN) -> Tensor:
    """The velocity ``eps - z`` that the network is asked for, whatever the level; [B, C, T, h, w].

    Of a family whose network sees latents as the VAE makes them, it is asked in normalised units: ``-((z - eps) - mean) / std``.

    Source: for the latter the official trainer of Pusa V0.5, whose network says minus what ComfyUI's does.
    """
    return -family.latent_format().process_in(clean - noise) if family.raw else noise - clean


def loss(predicted: Tensor, wanted: Tensor, sigma: Tensor, weighting: str, shift: float) -> Tensor:
    """Mean squared error of the velocity, weighted.

    A frame at level 0 does not count: nothing of its noise is in what the network sees, and sampling leaves it as it is.

    Args:
        predicted, wanted: velocities [B, C, T, h, w].
        sigma: levels of the frames, [B, T] or [B, 1].
        weighting: ``none``: the paper's loss. ``gaussian``: the error of each frame times ``gaussian_weight`` of its
            level. ``official``: the error of the whole clip times the mean weight of its frames, as the official trainer
            computes it (for every clip of the batch): nearly a constant factor, 1.00 +- 0.15 at 21 frames.
        shift: of the grid that the weights are normalised over.

    Returns:
        A scalar.
    """
    errors = (predicted.float() - wanted.float()).square().mean(dim=(1, 3, 4))
    counted = (sigma > 0).expand_as(errors).float()
    if weighting == "none":
        return (errors * counted).sum() / counted.sum()
    weights = gaussian_weight(sigma, shift)
    if weighting == "official":
        share = counted / counted.sum(1, keepdim=True)
        return ((errors * share).sum(1) * (weights * share).sum(1)).mean()
    return (errors * weights * counted).sum() / counted.sum()


def gaussian_weight(sigma: Tensor, shift: float = 5.0) -> Tensor:
    """``w = C (exp(-2 (sigma - 1/2)^2) - min)``, with mean 1 and minimum 0 over the 1000 levels of the grid.

    0 at level 1, 0.63 at 0.9, 1.67 at 0.7, 2.08 at 0.5, about 0 near level 0 (shift 5: C = 5.28, min = 0.6065).

    Source: the training weights of the official flow-match scheduler.
    """
    least, mean = _weight_range(shift)
    return (_bell(sigma) - least) / (mean - least)


def _bell(sigma: Tensor) -> Tensor:
    return torch.exp(-2 * (sigma - 0.5) ** 2)


@lru_cache
def _weight_range(shift: float) -> tuple[float, float]:
    """Minimum and mean of the bell over the grid."""
    bell = _bell(level_grid(shift).double())
    return bell.min().item(), bell.mean().item()
