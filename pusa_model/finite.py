"""Whether a tensor holds NaN or infinity, without a copy of it."""

import torch
from torch import Tensor

PART = 2**24  # elements that are looked at in one go, as those of a view are copied for it


def all_finite(tensor: Tensor) -> bool:
    """Whether no value of a floating-point tensor of any shape, dtype and device is NaN or infinity; true of none."""
    if not tensor.numel():
        return True
    rows = torch.atleast_1d(tensor)
    return all(_part_is_finite(part) for part in rows.split(max(1, PART * len(rows) // rows.numel())))


def _part_is_finite(part: Tensor) -> bool:
    """By the smallest and the largest value: either is NaN where one value is. Of float8 PyTorch knows neither."""
    least, most = torch.aminmax(part.float() if part.element_size() == 1 else part)
    return bool(torch.isfinite(least) & torch.isfinite(most))
