"""MultiGPU CFG Split calls the network in a second thread, on a second device; PyTorch's meta device stands for it here."""

import comfy.sample
import comfy.samplers
import pytest
import tiny
import torch
from comfy.patcher_extension import WrappersMP
from pusa.pusa_model import sampling
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import flow_match_sigmas


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("sampler_name", ["euler", "euler_ancestral"])
def test_the_vector_is_where_the_timestep_is(wan, device, sampler_name):
    seen = set()

    def to_second(executor, x, timestep, *args, **kwargs):
        return torch.zeros_like(x) + 0 * executor(x.to(device), timestep.to(device), *args, **kwargs)

    def network(executor, x, timestep, *args, **kwargs):
        seen.add((str(timestep.device), tuple(timestep.shape)))
        return torch.zeros(x.shape)

    latent = {"samples": torch.zeros(1, 16, 5, 8, 8)}
    condition = timeline.latent_frames(latent["samples"], torch.randn(1, 16, 1, 8, 8, generator=tiny.seeded(0)), "0", "0.2")
    wan.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "thread", to_second)
    model, placed = sampling.prepare(wan, latent, condition, 5.0)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "network", network)
    noise, sampler = comfy.sample.prepare_noise(latent["samples"], 1), comfy.samplers.sampler_object(sampler_name)
    prompts, options = (tiny.prompt(3), tiny.prompt(4)), {"seed": 1, "disable_pbar": True}
    with torch.inference_mode():
        comfy.sample.sample_custom(model, noise, 1.0, sampler, flow_match_sigmas(2), *prompts, placed["samples"], **options)
    assert seen == {(device, (1, 5))}
