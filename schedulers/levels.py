"""Noise levels per latent frame."""

from collections.abc import Sequence

import torch
from torch import Tensor


def multiplier_vector(length: int, positions: Sequence[int], multipliers: Sequence[float]) -> Tensor:
    """Noise multipliers of a whole clip.

    Args:
        length: T, latent frames of the clip.
        positions: latent frames that carry a condition, each in 0..T-1.
        multipliers: one per position, in [0, 1]; 0 is a clean frame.

    Returns:
        m shaped [T], float32; 1 (a free frame) wherever no condition lies.
    """
    m = torch.ones(length, dtype=torch.float32)
    m[list(positions)] = torch.tensor(list(multipliers), dtype=torch.float32)
    return m


def frame_levels(sigma: Tensor, multipliers: Tensor) -> Tensor:
    """Noise level of every latent frame: ``s_i = m_i * sigma``.

    Args:
        sigma: global level in [0, 1]; any shape whose elements are one per batch row, or a single number.
        multipliers: m in [0, 1], shape [T]; 1 is a free frame, 0 a clean condition.

    Returns:
        Levels shaped [B, 1, T, 1, 1] (B = 1 for a single number), ready to scale a latent [B, C, T, H, W].

    Source: Pusa V1.0 (arXiv 2507.16116), sampling with a vector of timesteps.
    """
    return (sigma.reshape(-1, 1) * multipliers)[:, None, :, None, None]
