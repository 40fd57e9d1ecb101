"""The patch as a citizen: nothing leaks between runs, node order does not matter, and the spec's invariants hold."""

import comfy.model_sampling
import pytest
import sampled
import tiny
import torch
from comfy.model_management import InterruptProcessingException
from comfy_extras.nodes_custom_sampler import CFGGuider, KSamplerSelect, Noise_RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from pusa.pusa_model import patch, sampling
from pusa.schedulers import InputError, flow_match_sigmas, frame_levels
from sampled import empty, given, random_frames, run

LATENT = empty()


def custom(model, positive, negative, latent, cfg=3.0, sampler="euler", sigmas=None):
    """The route of other packs: SamplerCustomAdvanced."""
    sigmas = flow_match_sigmas(4) if sigmas is None else sigmas
    guider = CFGGuider.execute(model, positive, negative, cfg)[0]
    noise, sampler = Noise_RandomNoise(7), KSamplerSelect.execute(sampler)[0]
    return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]["samples"]


def weights_of(model) -> dict:
    return {key: value.clone() for key, value in model.model.state_dict().items()}


def test_the_same_bits_after_twenty_other_runs(wan, positive, negative):
    """Other conditions, samplers, shifts, models and an aborted run in between leave no trace, nor does the base model change."""
    condition = given(LATENT, "0, 4", "0, 0.4")
    before, weights, options = run(wan, positive, negative, LATENT, condition), weights_of(wan), str(wan.model_options)
    text_only = run(wan, positive, negative, LATENT)
    other = tiny.wan_model(tiny.wan_weights(5))
    samplers = ["euler", "euler_ancestral", "dpmpp_2m", "lcm", "euler_cfg_pp"]
    for i in range(20):
        other_condition = given(LATENT, f"{i % 5}", f"{(i % 4) / 4}", seed=i)
        changes = dict(sampler_name=samplers[i % 5], shift=3.0 + i % 3, cfg=1.0 + i % 2, seed=i, denoise=1 - 0.04 * i)
        run(other if i % 3 == 0 else wan, positive, negative, LATENT, other_condition, **changes)
    assert torch.equal(run(wan, positive, negative, LATENT, condition), before)
    assert torch.equal(run(wan, positive, negative, LATENT), text_only)
    assert str(wan.model_options) == options and not wan.wrappers and not wan.object_patches
    for key, value in wan.model.state_dict().items():
        assert torch.equal(value, weights[key])


def test_model_sampling_comes_back_after_an_interrupted_run(wan, positive, negative, monkeypatch):
    model, latent = sampling.prepare(wan, LATENT, given(LATENT, "0", "0.3"), 5.0)
    patched = model.object_patches["model_sampling"]

    def stop(*args, **kwargs):
        raise InterruptProcessingException

    monkeypatch.setattr(wan.model.diffusion_model, "forward_orig", stop)
    with pytest.raises(InterruptProcessingException):
        custom(model, positive, negative, latent)
    assert model.object_patches["model_sampling"] is patched
    assert model.model.model_sampling is patched, "the model is still loaded with the patch of its shift, and nothing else"


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_a_shift_node_before_or_behind_gives_the_same(wan, positive, negative, sampler):
    condition = given(LATENT, "0, 2", "0.2, 0")
    before, latent = sampling.prepare(ModelSamplingSD3().patch(wan, 3.0)[0], LATENT, condition, 5.0)
    behind, _ = sampling.prepare(wan, LATENT, condition, 3.0)
    behind = ModelSamplingSD3().patch(behind, 5.0)[0]
    results = [custom(model, positive, negative, latent, sampler=sampler) for model in (before, behind)]
    assert torch.equal(*results)
    assert torch.equal(results[0][:, :, 2], random_frames(2)[:, :, 1])


def test_the_shift_reaches_schedules_on_the_global_level(wan):
    model, _ = sampling.prepare(wan, LATENT, given(LATENT, "0", "0.2"), 7.0)
    assert model.get_model_object("model_sampling").shift == 7.0


def test_a_second_condition_on_one_model_is_refused(wan):
    model, _ = sampling.prepare(wan, LATENT, given(LATENT, "0", "0.2"), 5.0)
    with pytest.raises(InputError, match="already carries a Pusa condition"):
        sampling.prepare(model, LATENT, given(LATENT, "1", "0.2"), 5.0)


def test_sampling_the_wrong_latent_is_told(wan, positive, negative):
    model, latent = sampling.prepare(wan, LATENT, given(LATENT, "0", "0.2"), 5.0)
    with pytest.raises(InputError, match="Connect the `latent` output"):
        custom(model, positive, negative, LATENT)
    with pytest.raises(InputError, match="was made for 5 latent frames"):
        custom(model, positive, negative, empty(6))
    with pytest.raises(InputError, match="the condition was made for 5 latent frames"):
        run(wan, positive, negative, empty(6), given(LATENT, "0", "0.2"))


def test_equal_multipliers_are_the_scalar_model(wan, positive, negative):
    """Invariant 4: a vector of equal timesteps gives what the scalar gives, up to the order of float operations."""
    network = wan.model.diffusion_model
    x, context = random_frames(5, seed=3), positive[0][0]
    scalar = network(x, torch.tensor([640.0]), context=context)
    vector = network(x, torch.full((1, 5), 640.0), context=context)
    assert (scalar - vector).abs().max() < 1e-5 * scalar.abs().max()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_an_exact_network_ends_at_the_condition(wan, positive, negative, steps):
    """Invariant 5: where v = eps - z is known exactly, every condition frame ends at z for every multiplier."""
    frames = random_frames(5, seed=2)
    z = sampled.FORMAT.process_in(frames)

    def forward(x, t, *args, **kwargs):
        s = (t / 1000).reshape(t.shape[0], 1, -1, 1, 1)
        return torch.where(s > 0, (x - z) / s.clamp_min(1e-9), torch.zeros_like(x))

    wan.model.diffusion_model.forward_orig = forward
    condition = given(LATENT, "0, 1, 2, 3, 4", "0, 0.01, 0.3, 0.7, 0.99", frames=frames)
    result = run(wan, positive, negative, LATENT, condition, steps=steps)
    assert (result - frames).abs().max() < 1e-4


def test_the_first_latent_is_noised_per_frame(wan, positive, negative):
    """Invariant 7: the network first sees (1 - m) z + m eps, with the slice of the one seeded noise tensor."""
    seen, m = [], torch.tensor([0.0, 0.2, 0.5, 1.0, 1.0])
    sampled.watch_network(wan, seen)
    run(wan, positive, negative, LATENT, given(LATENT, "0, 1, 2", "0, 0.2, 0.5"))
    z = torch.cat([sampled.FORMAT.process_in(random_frames(3)), torch.zeros(1, 16, 2, 4, 4)], dim=2)
    noise, s = Noise_RandomNoise(7).generate_noise(LATENT), frame_levels(torch.tensor(1.0), m)
    assert (seen[0][0] - ((1 - s) * z + s * noise)).abs().max() < 1e-6


def test_guidance_of_one_is_one_call_per_step(wan, positive, negative):
    """Invariant 12."""
    seen = []
    sampled.watch_network(wan, seen)
    run(wan, positive, negative, LATENT, given(LATENT, "0", "0.2"), steps=6)
    assert len(seen) == 6 and all(x.shape[0] == 1 for x, _ in seen)


def test_only_flow_matching_is_patched(wan, positive, negative):
    class VPrediction(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.V_PREDICTION):
        pass

    condition = given(LATENT, "0", "0.2")
    changed = wan.clone()
    changed.add_object_patch("model_sampling", VPrediction(wan.model.model_config))
    with pytest.raises(InputError, match="not flow matching"):
        patch.apply_condition(changed, condition)
    late = patch.apply_condition(wan, condition)
    late.add_object_patch("model_sampling", VPrediction(wan.model.model_config))
    with pytest.raises(InputError, match="not flow matching"):
        custom(late, positive, negative, {"samples": random_frames(5)})
