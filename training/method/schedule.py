"""The learning rate of a step."""

from __future__ import annotations

import math

from ..settings import Settings


def learning_rate(settings: Settings, step: int) -> float:
    """Rate of a step counted from 0: an even rise over the warm-up, then the schedule, which would reach 0 after the last step."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    left = 1 - (step - settings.warmup) / (settings.steps - settings.warmup)
    return settings.learning_rate * (left if settings.lr_schedule == "linear" else math.sin(math.pi * left / 2) ** 2)
