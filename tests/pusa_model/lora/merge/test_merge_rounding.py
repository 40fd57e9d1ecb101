"""The rounding to fp8 by a table is ComfyUI's, for every number."""

from concurrent.futures import ThreadPoolExecutor

import comfy.float
import comfy.utils
import pytest
import tiny
import torch
from pusa.pusa_model.lora.merge.rounding import _AHEAD, BLOCK, FP8, RandomBytes, round_to_fp8


def assert_rounded(values, random, dtype):
    import comfy_kitchen

    expected = comfy_kitchen.stochastic_rounding_fp8(values, random, dtype).view(torch.uint8)
    assert torch.equal(round_to_fp8(values, random, dtype), expected)


@pytest.mark.parametrize("dtype", FP8, ids=str)
def test_every_float16_is_rounded_by_every_byte_as_comfyui_rounds_it(dtype):
    numbers = torch.arange(2**16).to(torch.int16).view(torch.float16).float()
    numbers = numbers[~numbers.isnan()]
    for bytes_ in torch.arange(256, dtype=torch.uint8).split(32):
        assert_rounded(numbers.repeat(32), bytes_.repeat_interleave(len(numbers)), dtype)


@pytest.mark.parametrize("dtype", FP8, ids=str)
def test_every_kind_of_float32_is_rounded_as_comfyui_rounds_it(dtype):
    """Subnormal, beyond float16 or infinite."""
    generator = tiny.seeded(1)
    numbers = torch.randint(-(2**31), 2**31, (2**20,), dtype=torch.int32, generator=generator).view(torch.float32)
    numbers = torch.cat([numbers[~numbers.isnan()], torch.tensor([float("inf"), -float("inf"), 0.0, -0.0, 448.0, 65504.0])])
    assert_rounded(numbers, torch.randint(0, 256, numbers.shape, dtype=torch.uint8, generator=generator), dtype)


@pytest.mark.parametrize("in_a_node", [False, True])
@pytest.mark.parametrize("dtype", FP8, ids=str)
def test_bytes_drawn_ahead_round_a_weight_as_a_whole(dtype, in_a_node):
    """More blocks than are drawn ahead, the last one and one in the middle shorter than the others."""
    sizes = [BLOCK, 1000, *[BLOCK] * _AHEAD, 17]
    values = 10 * torch.randn(sum(sizes), generator=tiny.seeded(2))
    with torch.inference_mode(in_a_node), ThreadPoolExecutor(1) as worker:
        random = RandomBytes(worker).of("diffusion_model.x.weight", sizes)
        found = torch.cat([round_to_fp8(block, next(random), dtype) for block in values.split(sizes)])
    expected = comfy.float.stochastic_rounding(values, dtype, comfy.utils.string_to_seed("diffusion_model.x.weight"))
    assert torch.equal(found, expected.view(torch.uint8))
