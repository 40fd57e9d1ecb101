"""Every attention function of ComfyUI that this machine has gives the official result, and the same bits through its own blocks."""

import golden
import pytest
import tiny
import torch
from comfy.ldm.modules import attention
from pusa.nodes import PusaKSampler, PusaLatentFrames
from pusa.pusa_model.network import modulation

FUNCTIONS = {"basic": attention.attention_basic, **attention.REGISTERED_ATTENTION_FUNCTIONS}
TASKS = [pair for pair in golden.variants(truncated=False) if not golden.INDEX["tasks"][pair[0]]["dual"]]


def chosen(name: str, calls: list):
    """Transformer options that choose a function the way node packs do, and count its calls."""

    def instead(function, *args, **kwargs):
        calls.append(name)
        return FUNCTIONS[name](*args, **kwargs)

    return {"optimized_attention_override": instead}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("task, variant", TASKS)
def test_the_official_result(name, task, variant):
    reference, model, calls = golden.reference(task, variant), golden.model(), []
    model.model_options["transformer_options"] |= chosen(name, calls)
    condition = None
    if reference.positions:
        positions, noise = (", ".join(map(str, values)) for values in (reference.positions, reference.multipliers))
        condition = PusaLatentFrames.execute(reference.latent, {"samples": reference.frames}, positions, noise)[0]
    settings = dict(seed=reference.seed, steps=reference.steps, cfg=reference.cfg, shift=reference.shift)
    given = (model, reference.positive, reference.negative, reference.latent)
    how = dict(sampler_name="euler", scheduler="flow_match", denoise=1.0, condition=condition)
    result = PusaKSampler.execute(*given, **settings, **how)[0]["samples"]
    assert calls and reference.error(result) <= 1e-4


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits_as_through_the_blocks_of_comfyui(wan, name):
    generator = tiny.seeded(0)
    x, context = torch.randn(1, 16, 3, 8, 6, generator=generator), torch.randn(1, 8, tiny.TEXT_WIDTH, generator=generator)
    network, timesteps, calls = wan.model.diffusion_model, 1000 * torch.rand(1, 3, generator=generator), []
    options = chosen(name, calls)
    with torch.no_grad():
        stock = network(x, timesteps, context, transformer_options=dict(options))
        modulation.add_replacements(options, modulation.frame_blocks(network))
        ours = network(x, timesteps, context, transformer_options=options)
    assert len(calls) == 4 * len(network.blocks) and torch.equal(stock, ours)
