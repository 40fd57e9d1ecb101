"""Prompts of another text encoder are told by their width before a step is spent on them."""

import pytest
import tiny
import torch
from pusa.pusa_model.prompts.check import check_prompts
from pusa.schedulers import InputError


def prompt(*shape):
    return [torch.zeros(shape), {"pooled_output": None}]


def test_prompts_of_this_model_pass(wan, positive, negative):
    check_prompts(wan, positive, negative)
    check_prompts(wan, positive * 2, [prompt(2, 512, tiny.TEXT_WIDTH)])


@pytest.mark.parametrize(
    "shape, whose",
    [
        ((1, 77, 768), "Stable Diffusion 1"),
        ((1, 77, 2048), "SDXL"),
        ((1, 256, 4095), "another model"),
        ((77, 4096), "a model with the T5-XXL family"),
        ((1, 4096, 8), "another model"),
    ],
)
@pytest.mark.parametrize("name", ["positive", "negative"])
def test_prompts_of_another_text_encoder_are_refused(wan, positive, name, shape, whose):
    prompts = {"positive": positive, "negative": positive} | {name: [*positive, prompt(*shape)]}
    with pytest.raises(InputError) as refused:
        check_prompts(wan, **prompts)
    words = str(refused.value)
    assert words.startswith(f"`{name}` is encoded for {whose}") and "of type wan" in words
    assert str(shape) in words and "Wan2.1 (and 2.2 A14B) takes [batch, tokens, 4096]" in words


@pytest.mark.parametrize("name", ["positive", "negative"])
def test_a_conditioning_without_prompts_is_refused(wan, positive, name):
    with pytest.raises(InputError, match=f"`{name}` is an empty CONDITIONING"):
        check_prompts(wan, **({"positive": positive, "negative": positive} | {name: []}))
