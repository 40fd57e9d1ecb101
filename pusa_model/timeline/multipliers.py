"""Noise multipliers that come over a socket: a curve of ComfyUI, or numbers."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ...schedulers import InputError, parse_noise


def condition_multipliers(noise: str, multipliers: Any, count: int) -> list[float]:
    """Multipliers of ``count`` condition frames: those of the socket, or of the ``noise`` text where nothing is connected.

    Args:
        multipliers: ComfyUI's CurveInput, read evenly from x = 0 (the first condition frame) to x = 1 (the last) and rounded
            to a millionth; one number for all; a list with a number for each; or None.

    Raises:
        InputError: what is connected holds no numbers, another number of them, or one outside [0, 1].
    """
    if multipliers is None:
        return parse_noise(noise, count)
    if hasattr(multipliers, "interp_array"):
        values = multipliers.interp_array(np.linspace(0, 1, count)).round(6).tolist()
    else:
        values = _numbers(multipliers)
        values = values * count if len(values) == 1 else values
    if len(values) != count:
        raise InputError(
            f"`multipliers` holds {len(values)} values for {count} condition frame{'s' * (count != 1)}. Give one value for all, "
            f"exactly {count}, or a curve, which fits any number."
        )
    for index, value in enumerate(values):
        if not 0 <= value <= 1:
            raise InputError(
                f"`multipliers` is {value:g} for condition frame {index + 1} of {count}, outside 0 to 1. 0 keeps the frame clean, "
                "1 leaves it free."
            )
    return values


def _numbers(multipliers: Any) -> list[float]:
    try:
        return [float(value) for value in ([multipliers] if isinstance(multipliers, Real) else multipliers)]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"`multipliers` holds no numbers but {type(multipliers).__name__[:40]}. Connect a curve, a number, or a list of "
            "numbers."
        ) from error
