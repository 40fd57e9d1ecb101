"""Every sampler that ComfyUI lists: nothing changes without a condition, and clean frames never move."""

import comfy.samplers
import nodes as core_nodes
import pytest
import sampled
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from pusa.pusa_model.paths import own_path
from sampled import given, random_frames, run

SAMPLERS = comfy.samplers.SAMPLER_NAMES
LATENT = sampled.empty()


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_without_a_condition_it_is_core_ksampler_bit_for_bit(wan, positive, negative, sampler_name, cfg):
    shifted = ModelSamplingSD3().patch(wan, 5.0)[0]
    (core,) = core_nodes.common_ksampler(shifted, 7, 4, cfg, sampler_name, "simple", positive, negative, LATENT)
    for condition in (None, given(LATENT, "0, 4", "1")):
        ours = run(wan, positive, negative, LATENT, condition, sampler_name=sampler_name, cfg=cfg, scheduler="simple")
        assert torch.equal(ours, core["samples"])


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_clean_frames_never_move(wan, positive, negative, sampler_name, cfg):
    """m = 0 returns the condition bit for bit, and the network is given it unmoved in every call on the way."""
    seen = []
    sampled.watch_network(wan, seen)
    condition = given(LATENT, "0, 3, 4", "0, 0, 0.5")
    result = run(wan, positive, negative, LATENT, condition, sampler_name=sampler_name, cfg=cfg)
    assert torch.isfinite(result).all()
    assert torch.equal(result[:, :, [0, 3]], random_frames(3)[:, :, [0, 1]])
    clean = sampled.FORMAT.process_in(random_frames(3)[:, :, :2])
    for latent, timesteps in seen:
        assert (timesteps[:, [0, 3]] == 0).all() and (timesteps[:, [1, 2]] > 0).all()
        assert (latent[:, :, [0, 3]] - clean).abs().max() < 1e-5


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_a_condition_changes_the_free_frames(wan, positive, negative, sampler_name):
    """The frames without a condition see the given ones: the result is not text-to-video with frames pasted over."""
    with_condition = run(wan, positive, negative, LATENT, given(LATENT, "0", "0"), sampler_name=sampler_name)
    without = run(wan, positive, negative, LATENT, sampler_name=sampler_name)
    assert (with_condition - without)[:, :, 1:].abs().max() > 1e-2


def test_every_sampler_is_either_deterministic_or_on_its_own_path():
    """The table names functions that exist, so that a renamed sampler falls back to the own path and is noticed here."""
    names = {comfy.samplers.sampler_object(name).sampler_function.__name__ for name in SAMPLERS}
    assert own_path.DETERMINISTIC <= names


@pytest.mark.parametrize("option", own_path.NOISY_OPTIONS)
def test_options_that_add_noise_leave_the_table(option):
    quiet, noisy = (comfy.samplers.ksampler("euler", {option: value}) for value in (0, 0.5))
    assert not own_path.needs_own_path(quiet) and own_path.needs_own_path(noisy)


def test_samplers_of_other_packs_take_the_own_path():
    def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        return x

    assert own_path.needs_own_path(comfy.samplers.KSAMPLER(sample_euler))
    assert own_path.needs_own_path(comfy.samplers.Sampler())
