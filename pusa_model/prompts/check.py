"""Whether prompts were encoded for the model that is to sample them."""

from __future__ import annotations

from typing import Any

from ...schedulers import InputError
from ..families.foreign import PROMPTS
from ..families.lookup import network_of, of_model, text_width


def check_prompts(model, positive: list[list[Any]], negative: list[list[Any]]) -> None:
    """Refuse CONDITIONING that is empty, or was encoded for another network.

    Args:
        model: ModelPatcher of a family in the table.
        positive, negative: ComfyUI CONDITIONING, a list of [features [B, tokens, width], options].

    Raises:
        InputError: names the input, what was found (a width, or whether there is a mask), and what is needed.
    """
    width, family = text_width(network_of(model)), of_model(model)
    advice = f"Encode the prompt with CLIP Text Encode and Load CLIP of type {family.text}."
    for name, prompt in (("positive", positive), ("negative", negative)):
        if not prompt:
            raise InputError(f"`{name}` is an empty CONDITIONING. {advice}")
        for features, options in prompt:
            if features.ndim != 3 or features.shape[-1] != width:
                whose = PROMPTS.get(features.shape[-1], "another model")
                raise InputError(
                    f"`{name}` is encoded for {whose}: its features have the shape {tuple(features.shape)}, "
                    f"{family.name} takes [batch, tokens, {width}]. {advice}"
                )
            mask = options.get("attention_mask")
            if (mask is not None) != family.masked:
                found = "without the mask of its tokens" if mask is None else "with a mask of its tokens, by another text encoder"
                raise InputError(f"`{name}` was encoded {found}, so it is not for {family.name}. {advice}")
            if family.masked and (mask.shape != features.shape[:2] or mask.is_floating_point()):
                kind = str(mask.dtype).removeprefix("torch.")
                raise InputError(
                    f"`{name}` has a mask of the shape {tuple(mask.shape)} and type {kind}; whole numbers [batch, tokens] "
                    f"{tuple(features.shape[:2])} are needed. {advice}"
                )


def lengths(model, *prompts: list[list[Any]]) -> str | None:
    """What to say of prompts with more tokens than the model was trained with; None where there are none."""
    most = of_model(model).tokens
    longest = max((features.shape[1] for prompt in prompts for features, _ in prompt), default=0)
    if most is None or longest <= most:
        return None
    return f"A prompt has {longest} tokens; {of_model(model).name} was trained with {most}, and may not follow the rest."
