"""Whether a tensor holds NaN or infinity, without a copy of it."""

import torch
from torch import Tensor

PART = 2**24  # elements that are looked at in one go, as those of a view are copied for it


def all_finite(tensor: Tensor) -> bool:
    """Whether no value of a tensor is NaN or infinity; true of none.

    Args:
        tensor: of any shape and device, and of a floating-point dtype of 2 bytes or more.
    """
    if not tensor.numel():
        return True
    rows = torch.atleast_1d(tensor)
    return all(_part_is_finite(part) for part in rows.split(max(1, PART * len(rows) // rows.numel())))


def _part_is_finite(part: Tensor) -> bool:
    """By the smallest and the largest value: both are NaN where one value is."""
    least, most = torch.aminmax(part)
    return bool(torch.isfinite(least) & torch.isfinite(most))
