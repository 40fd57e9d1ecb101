"""Optimisers by name: PyTorch's, and those of packages that are installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from ...schedulers import InputError
from ..settings import Settings

# name: (module, class, bytes of its state for each trained number, options)
OPTIMIZERS = {
    "adamw": ("torch.optim", "AdamW", 8, {"fused": True}),
    "adamw8bit": ("bitsandbytes.optim", "AdamW8bit", 2, {}),
    "paged_adamw8bit": ("bitsandbytes.optim", "PagedAdamW8bit", 0, {}),
    "lion8bit": ("bitsandbytes.optim", "Lion8bit", 1, {}),
    "ao_adamw8bit": ("torchao.optim", "AdamW8bit", 2, {}),
    "ao_adamw4bit": ("torchao.optim", "AdamW4bit", 1, {}),
    "adafactor": ("torch.optim", "Adafactor", 0, {}),
    "sgd": ("torch.optim", "SGD", 0, {}),
}


def make_optimizer(parameters: Sequence[Parameter], settings: Settings) -> Optimizer:
    """The optimiser of the settings, at their learning rate and weight decay.

    Raises:
        InputError: its name is not known, its package is not installed, or it does not take the usual options.
    """
    module, name, _, options = _known(settings.optimizer)
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"`optimizer`: {settings.optimizer} needs {name} of {module}, which cannot be had ({error}).") from None
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        raise InputError(f"`optimizer`: {settings.optimizer} is no optimiser of PyTorch's kind.")
    try:
        return kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, **options)
    except TypeError as error:
        raise InputError(
            f"`optimizer`: {settings.optimizer} does not take a learning rate and a weight decay ({error})."
        ) from error


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give an optimiser its learning rate; those that keep it in a tensor, as torchao's do, want it there."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def check_optimizer(name: str) -> None:
    """Refuse an optimiser that is not known, or whose package is not installed; nothing is imported.

    Raises:
        InputError: says what is allowed, or what to install.
    """
    package = _known(name)[0].split(".")[0]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"`optimizer` {name} needs the package {package}, which is not installed: pip install {package}")


def state_size(name: str) -> int:
    """Bytes on the GPU that an optimiser keeps for each trained number; 8 where it is not known."""
    return _known(name)[2]


def _known(name: str) -> tuple[str, str, int, dict]:
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    module, _, kind = name.partition(":")
    if not (kind.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise InputError(f"`optimizer` is {name}; use {', '.join(OPTIMIZERS)}, or package.module:Class of any other.")
    return module, kind, 8, {}
