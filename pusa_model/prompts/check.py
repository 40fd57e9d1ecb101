"""Whether prompts were encoded for the model that is to sample them."""

from __future__ import annotations

from typing import Any

from ...schedulers import InputError
from ..families.foreign import PROMPTS
from ..families.lookup import of_model

ADVICE = "Encode the prompt with CLIP Text Encode and Load CLIP of type wan (umt5_xxl)."


def check_prompts(model, positive: list[list[Any]], negative: list[list[Any]]) -> None:
    """Refuse CONDITIONING that is empty, or whose features are not as wide as those that the network was trained with.

    Args:
        model: ModelPatcher of a Wan model.
        positive, negative: ComfyUI CONDITIONING, a list of [features [B, tokens, width], options].

    Raises:
        InputError: names the input, the width that was found, and what is needed.
    """
    width = model.get_model_object("diffusion_model").text_dim
    for name, prompt in (("positive", positive), ("negative", negative)):
        if not prompt:
            raise InputError(f"`{name}` is an empty CONDITIONING. {ADVICE}")
        for features, _ in prompt:
            if features.ndim != 3 or features.shape[-1] != width:
                family, whose = of_model(model), PROMPTS.get(features.shape[-1], "another model")
                raise InputError(
                    f"`{name}` is encoded for {whose}: its features have the shape {tuple(features.shape)}, "
                    f"{family.name if family else 'this model'} takes [batch, tokens, {width}]. {ADVICE}"
                )
