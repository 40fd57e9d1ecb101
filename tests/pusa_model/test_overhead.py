"""A vector of timesteps costs nothing: no waiting for the device, no large tensor, no more memory than one number takes."""

import sys
from collections import Counter

import comfy.ldm.wan.model
import comfy.ops
import host_comfyui
import pytest
import sampled
import tiny
import torch
import watched
from comfy.ldm.modules.attention import attention_pytorch
from pusa.pusa_model.network import modulation
from sampled import empty, given, run

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.measure.peaks import allocated  # noqa: E402

FRAMES, SIDE = 5, 32
STEPS = 5
SAMPLERS = ["euler", "dpmpp_2m", "euler_ancestral", "lcm", "euler_cfg_pp"]


def settings(sampler_name="euler"):
    return {"steps": STEPS, "sampler_name": sampler_name, "cfg": 3.0}


@pytest.fixture(scope="module")
def network():
    """A network whose feed-forward is as much wider than the rest as in Wan 14B."""
    config = dict(in_dim=16, dim=tiny.WIDTH, ffn_dim=346, num_heads=1, num_layers=2, text_dim=tiny.TEXT_WIDTH)
    outline = comfy.ldm.wan.model.WanModel(**config, dtype=torch.float32, operations=comfy.ops.manual_cast).state_dict()
    return tiny.wan_model(tiny.randomised(outline, 0)).model.diffusion_model


def scalar_and_vector(network):
    """The same call with one number and with a vector as this pack makes it, both with PyTorch's attention."""
    generator = tiny.seeded(0)
    x = torch.randn(1, 16, FRAMES, SIDE, SIDE, generator=generator)
    context = torch.randn(1, 8, tiny.TEXT_WIDTH, generator=generator)
    vector = torch.linspace(0, 800, FRAMES)[None]

    def call(timestep, blocks):
        options = {"optimized_attention_override": lambda function, *args, **kwargs: attention_pytorch(*args, **kwargs)}
        modulation.add_replacements(options, blocks)
        return network(x, timestep, context, transformer_options=options)

    return lambda: call(vector[:, 1], {}), lambda: call(vector, modulation.frame_blocks(network))


@torch.inference_mode()
def test_a_vector_takes_no_more_memory_than_one_number(network):
    scalar, vector = scalar_and_vector(network)
    assert allocated(vector) <= 1.01 * allocated(scalar)


@torch.inference_mode()
def test_every_large_tensor_is_one_that_a_single_number_makes_too(network):
    """Above the size of the modulation [B, T, 6, C]. Only ComfyUI's head, once a call, repeats its two for every token."""
    modulated, tokens = FRAMES * 6 * tiny.WIDTH * 4, FRAMES * (SIDE // 2) ** 2 * tiny.WIDTH * 4
    made = []
    for call in scalar_and_vector(network):
        with watched.Operations() as operations:
            call()
        made.append(Counter(size for *_, size in operations.allocated if size > modulated))
    assert made[1] - made[0] == {tokens: 3} and not made[0] - made[1]


@pytest.mark.parametrize("sampler_name", SAMPLERS)
@pytest.mark.parametrize("masked", [False, True])
def test_no_line_of_ours_waits_for_the_device_in_a_step(wan, positive, negative, sampler_name, masked):
    latent, calls = empty(), []
    if masked:
        latent["noise_mask"] = torch.full((1, 1, 5, 4, 4), 0.5)
    sampled.watch_network(wan, calls)
    with watched.Waits(lambda: len(calls)) as waits:
        run(wan, positive, negative, latent, given(latent, "0, 2", "0, 0.3"), **settings(sampler_name))
    assert [call for call, *_ in waits.found if call == 0], "what is done before the run is seen, so a wait would be"
    assert not [found for found in waits.found if 0 < found[0] < len(calls)]


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_no_line_of_ours_allocates_more_than_the_latent_in_a_step(wan, positive, negative, sampler_name):
    latent, calls = empty(), []
    sampled.watch_network(wan, calls)
    with watched.Operations(lambda: len(calls)) as operations:
        run(wan, positive, negative, latent, given(latent, "0, 2", "0, 0.3"), **settings(sampler_name))
    ours = [size for call, file, size in operations.allocated if call and file.parent == watched.PACK and file.stem != "modulation"]
    assert 0 < max(ours) <= latent["samples"].nbytes


def values_read(*inputs, **changes) -> int:
    """How often a run reads the value of a tensor, by whichever line."""
    with watched.Operations() as operations:
        run(*inputs, **changes)
    return sum(operations.counts[name] for name in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"))


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_a_step_reads_as_many_values_as_without_a_condition(wan, positive, negative, sampler_name):
    latent = empty()
    each_step = []
    for condition in (None, given(latent, "0, 2", "0, 0.3")):
        inputs = wan, positive, negative, latent, condition
        few, many = (values_read(*inputs, **settings(sampler_name) | {"steps": steps}) for steps in (STEPS, 2 * STEPS))
        each_step.append(many - few)
    assert each_step[0] == each_step[1]
