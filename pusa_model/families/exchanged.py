"""Forwards of modules that are exchanged on a cloned MODEL, for the time that ComfyUI has it loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from comfy.patcher_extension import CallbacksMP
from comfy.utils import get_attr

KEY = "pusa_exchanged"


class Exchanged(partial):
    """A function in the place of a module's forward; the module is its first argument."""


def exchange(patched, name: str, function: Callable, *given) -> None:
    """Put ``function(module, *given, ...)`` in the place of a forward of a cloned MODEL.

    Args:
        name: as ComfyUI's object patches have it, for example ``diffusion_model.time_embedding.forward``.
        given: arguments between the module and those of the forward.
    """
    patched.add_object_patch(name, Exchanged(function, _module(patched, name), *given))
    patched.remove_callbacks_with_key(CallbacksMP.ON_CLONE, KEY)
    patched.add_callback_with_key(CallbacksMP.ON_CLONE, KEY, to_own_modules)


def to_own_modules(model, clone) -> None:
    """A clone with another network, as MultiGPU CFG Split makes it for each GPU, gets forwards of the modules of that one."""
    if clone.model is model.model:
        return
    for name, patch in clone.object_patches.items():
        if isinstance(patch, Exchanged):
            clone.object_patches[name] = Exchanged(patch.func, _module(clone, name), *patch.args[1:])


def restore(model) -> None:
    """Take every exchanged forward off a MODEL."""
    for name in [name for name, patch in model.object_patches.items() if isinstance(patch, Exchanged)]:
        del model.object_patches[name]
    model.remove_callbacks_with_key(CallbacksMP.ON_CLONE, KEY)


def _module(patcher, name: str):
    return get_attr(patcher.model, name.rpartition(".")[0])
