"""The flow-matching sigma grid that the Pusa models were trained and released with."""

import math

import torch
from torch import Tensor

from .errors import InputError


def flow_match_sigmas(steps: int, shift: float = 5.0, denoise: float = 1.0) -> Tensor:
    """Noise levels of a flow-matching run: an even grid pushed towards the noisy end.

    ``u_k = denoise * (1 - k / steps)`` and ``sigma_k = shift * u_k / (1 + (shift - 1) * u_k)``.

    Args:
        steps: number of model steps, 1 or more.
        shift: timestep shift, above 0; 1 leaves the grid even, Pusa uses 5.
        denoise: share of the noise to start from, in (0, 1]; 1 starts from pure noise.

    Returns:
        Sigmas shaped [steps + 1], float32, strictly falling to exactly 0. Level 1 is noise, the timestep is 1000 sigma.

    Raises:
        InputError: an argument is out of its range.

    Source: the flow-match scheduler of the official Pusa V1.0 pipelines. Computed directly for every step, without
    looking levels up in a 1000-entry table, so it is exact for every number of steps.
    """
    if steps < 1:
        raise InputError(f"`steps` is {steps}; it must be 1 or more.")
    if not (math.isfinite(shift) and shift > 0):
        raise InputError(f"`shift` is {shift}; it must be above 0 (Pusa uses 5).")
    if not 0 < denoise <= 1:
        raise InputError(f"`denoise` is {denoise}; it must be above 0 and at most 1.")
    u = denoise * (1 - torch.arange(steps + 1, dtype=torch.float64) / steps)
    return (shift * u / (1 + (shift - 1) * u)).to(torch.float32)


def expert_switch(sigmas: Tensor, boundary: float) -> int:
    """First step that the Wan2.2 low-noise expert takes: the first global level strictly below the boundary.

    Args:
        sigmas: falling levels, shape [K + 1]; the last one is where the run ends and is never a step.
        boundary: level in [0, 1] at which the experts change; 0.875 for Wan2.2-T2V-A14B.

    Returns:
        A step index 0..K. 0 leaves nothing to the high-noise expert, K nothing to the low-noise expert.

    Raises:
        InputError: the boundary is outside [0, 1].

    Source: ``switch_DiT_boundary`` of the official Wan2.2 pipelines. The frames' own levels have no say in it.
    """
    if not 0 <= boundary <= 1:
        raise InputError(f"`boundary` is {boundary}; it must be between 0 and 1 (Wan2.2 uses 0.875).")
    return int((sigmas[:-1] >= boundary).sum())
