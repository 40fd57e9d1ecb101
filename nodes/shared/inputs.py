"""What every input of a node must be before the node runs: of its type, in its range, finite.

ComfyUI checks widgets, not what comes over a link, and NaN passes its minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
from comfy_api.latest import io

from ...pusa_model.condition import Condition
from ...schedulers import InputError
from ...schedulers.finite import all_finite
from ...schedulers.grammar import shown


def check_inputs(schema: io.Schema, values: dict[str, Any]) -> None:
    """Refuse arguments of `execute` that no run can use.

    Args:
        values: what was given, by input id; None for an optional socket that is not connected. Of a node that takes lists, each
            of them.

    Raises:
        InputError: names the input, what it is, and what is allowed.
    """
    for each in schema.inputs:
        open_socket = each.optional and not isinstance(each, io.WidgetInput) and values.get(each.id) is None
        if each.id not in values or open_socket:
            continue
        if not schema.is_input_list:
            _check(each, each.id, values[each.id])
            continue
        items = _must_be(values[each.id], list, each.id, "a list")
        if not items:
            raise InputError(f"`{each.id}` is an empty list. What comes before has made nothing.")
        for number, item in enumerate(items):
            _check(each, each.id if len(items) == 1 else f"{each.id}, item {number}", item)


def _check(each: io.Input, name: str, value: Any) -> None:
    if isinstance(each, io.Autogrow.Input):
        if not _must_be(value, dict, name, "a group of inputs") and each.template.min:
            raise InputError(f"`{name}` has nothing connected; connect one at least.")
        for key, grown in value.items():
            _check(each.template.input, shown(key), grown)
    elif each.get_io_type() in CHECKS:
        CHECKS[each.get_io_type()](name, value, each)


def _must_be(value: Any, kind: type | tuple[type, ...], name: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"`{name}` is {_kind(value)}, not {wanted}.")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__[:40]}"


def _number(name: str, value: Any, each: io.Input) -> None:
    whole = isinstance(each, io.Int.Input)
    _must_be(value, Integral if whole else Real, name, f"a {'whole ' * whole}number")
    if not each.min <= value <= each.max:  # NaN compares false
        raise InputError(f"`{name}` is {_written(value)}; it must be a number from {each.min} to {each.max}.")


def _written(value: Real) -> str:
    return shown(str(value)) if not isinstance(value, Integral) or abs(value) < 10**30 else "a very large number"


def _text(name: str, value: Any, _) -> None:
    _must_be(value, str, name, "a text")


def _choice(name: str, value: Any, each: io.Combo.Input) -> None:
    if _must_be(value, str, name, "a text") in each.options:
        return
    if each.default is None:  # a list of files
        raise InputError(
            f"`{name}`: there is no file `{shown(value)}` in its folder. Put it there, press R to read the folder again, and "
            "choose it from the list."
        )
    choices = ", ".join(each.options)
    raise InputError(f"`{name}`: there is no `{shown(value)}`; use {choices if len(choices) < 100 else 'one of the list'}.")


def _tensor(name: str, value: Any, what: str) -> None:
    if not _must_be(value, torch.Tensor, name, what).is_floating_point() or value.element_size() == 1:
        kind = str(value.dtype).removeprefix("torch.")
        raise InputError(f"`{name}` holds numbers of type {kind}; {what} holds float32, float16, bfloat16 or float64.")
    if not all_finite(value):
        raise InputError(f"`{name}` holds values that are not finite (NaN or infinity). What comes before has failed.")


def _image(name: str, value: Any, _) -> None:
    _tensor(name, value, "an IMAGE")
    if value.ndim != 4:
        raise InputError(f"`{name}` has the shape {tuple(value.shape)}; an IMAGE is [frames, height, width, channels].")


def _video_or_image(name: str, value: Any, each: io.Input) -> None:
    if not hasattr(value, "get_components"):
        _image(name, value, each)


def _sigmas(name: str, value: Any, _) -> None:
    _tensor(name, value, "SIGMAS")


def _latent(name: str, value: Any, _) -> None:
    samples = _must_be(value, dict, name, "a LATENT").get("samples")
    if getattr(samples, "is_nested", False):
        raise InputError(
            f"`{name}` holds several latents at once, such as picture and sound of LTX-2. A Wan latent is one; "
            "EmptyHunyuanLatentVideo makes it."
        )
    if not isinstance(samples, torch.Tensor):
        raise InputError(f"`{name}` is a LATENT without samples. Connect a video latent, such as EmptyHunyuanLatentVideo makes.")
    if samples.ndim < 3 or not samples.numel():
        raise InputError(
            f"`{name}` has the shape {tuple(samples.shape)}; a video latent is [batch, channels, frames, height, width]."
        )
    _tensor(name, samples, "a LATENT")
    if value.get("noise_mask") is not None:
        _mask(f"{name}: noise_mask", value["noise_mask"])
    index = value.get("batch_index")
    if index is not None and not (isinstance(index, list) and index and all(isinstance(i, Integral) and i >= 0 for i in index)):
        raise InputError(f"`{name}: batch_index` is not a list of whole numbers from 0 on.")
    for ratio in ("downscale_ratio_spacial", "downscale_ratio_temporal"):
        if not (value.get(ratio) is None or isinstance(value[ratio], Real) and value[ratio] > 0):
            raise InputError(f"`{name}: {ratio}` is not a number above 0.")


def _mask(name: str, value: Any) -> None:
    _tensor(name, value, "a MASK")
    if value.ndim < 2 or not value.numel():
        raise InputError(f"`{name}` has the shape {tuple(value.shape)}; a MASK is [frames, height, width].")


def _conditioning(name: str, value: Any, _) -> None:
    """The embeddings only: an attention mask beside them may hold -inf."""
    if not _must_be(value, list, name, "a CONDITIONING"):
        raise InputError(f"`{name}` is an empty CONDITIONING. Connect CLIP Text Encode or Load Prompt (Pusa).")
    for entry in value:
        pair = isinstance(entry, (list, tuple)) and len(entry) == 2
        if not (pair and isinstance(entry[0], torch.Tensor) and entry[0].ndim == 3 and isinstance(entry[1], dict)):
            raise InputError(f"`{name}` is not a CONDITIONING [batch, tokens, width] as CLIP Text Encode makes it.")
        _tensor(name, entry[0], "a CONDITIONING")


def _model(name: str, value: Any, _) -> None:
    if not hasattr(value, "get_model_object"):
        raise InputError(f"`{name}` is {_kind(value)}, not a MODEL.")


def _vae(name: str, value: Any, _) -> None:
    if not (hasattr(value, "latent_channels") and getattr(value, "first_stage_model", None) is not None):
        raise InputError(f"`{name}` is {_kind(value)}, not a VAE, or its file held none. Use the Wan2.1 VAE.")


def _condition(name: str, value: Any, _) -> None:
    _must_be(value, Condition, name, "a condition of a node of this pack")


CHECKS: dict[str, Callable[[str, Any, io.Input], None]] = {
    "FLOAT": _number,
    "INT": _number,
    "STRING": _text,
    "COMBO": _choice,
    "IMAGE": _image,
    "VIDEO,IMAGE": _video_or_image,
    "LATENT": _latent,
    "CONDITIONING": _conditioning,
    "SIGMAS": _sigmas,
    "MODEL": _model,
    "VAE": _vae,
    "PUSA_CONDITION": _condition,
}
"""By the type that ComfyUI writes on the socket."""
