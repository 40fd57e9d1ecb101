"""Parity with the official system, task by task, through every route that a graph can take and both kinds of block."""

import golden
import nodes as core_nodes
import pytest
import torch
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from pusa.nodes import PusaApplyCondition, PusaKSampler, PusaLatentFrames, PusaScheduler
from pusa.pusa_model.network import modulation
from pusa.schedulers import expert_switch, flow_match_sigmas
from sampled import watch_network

TOLERANCE = 1e-4
EXACT = golden.variants(truncated=False)
SINGLE = [pair for pair in EXACT if not golden.INDEX["tasks"][pair[0]]["dual"]]
DUAL = [pair for pair in EXACT if golden.INDEX["tasks"][pair[0]]["dual"]]


class Blocks:
    """The kind of block that a model runs through: this pack's, or ComfyUI's own, before which another pack has put its patches."""

    def __init__(self, stock: bool):
        self.stock, self.seen = stock, set()

    def __call__(self, model):
        if self.stock:
            for index in range(len(model.model.diffusion_model.blocks)):
                model.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", "double_block", index)
        model.set_model_attn2_patch(self.note)
        return model

    def note(self, args):
        options = args["transformer_options"]
        replacement = options.get("patches_replace", {}).get("dit", {}).get(("double_block", options["block_index"]))
        self.seen.add(getattr(replacement, "func", None) is modulation.frame_block)
        return args["x"]

    def as_expected(self, reference) -> bool:
        """Whether every block was of the kind that was asked for; without a condition there is none of this pack's."""
        return self.seen == {bool(reference.positions) and not self.stock}


@pytest.fixture(params=[False, True], ids=["our blocks", "stock blocks"])
def blocks(request):
    return Blocks(request.param)


def condition_of(reference):
    if not reference.positions:
        return None
    positions, noise = (", ".join(map(str, values)) for values in (reference.positions, reference.multipliers))
    return PusaLatentFrames.execute(reference.latent, {"samples": reference.frames}, positions, noise)[0]


def models_of(reference):
    return golden.model(), golden.model(low_noise=True) if reference.dual_model else None


def ksampler(reference, model, model_low, condition):
    return PusaKSampler.execute(
        model,
        reference.positive,
        reference.negative,
        reference.latent,
        seed=reference.seed,
        steps=reference.steps,
        cfg=reference.cfg,
        shift=reference.shift,
        sampler_name="euler",
        scheduler="flow_match",
        denoise=1.0,
        condition=condition,
        model_low=model_low,
        boundary=reference.switch_DiT_boundary or 0.875,
    )[0]["samples"]


def applied(reference, model, condition):
    """(model, latent) of Apply Condition (Pusa)."""
    return PusaApplyCondition.execute(model, reference.latent, condition, reference.shift)


@pytest.mark.parametrize("task, variant", EXACT)
def test_ksampler(task, variant, blocks):
    reference = golden.reference(task, variant)
    models = [model and blocks(model) for model in models_of(reference)]
    result = ksampler(reference, *models, condition_of(reference))
    assert reference.error(result) <= TOLERANCE and blocks.as_expected(reference)


@pytest.mark.parametrize("task, variant", EXACT)
def test_a_wrong_multiplier_would_be_seen(task, variant):
    """The tolerance can fail: another multiplier or another shift moves the result a thousand times further."""
    reference = golden.reference(task, variant)
    reference.task["multipliers"] = [min(1.0, m + 0.1) for m in reference.multipliers]
    reference.task["shift"] = reference.shift if reference.positions else 5.5
    result = ksampler(reference, *models_of(reference), condition_of(reference))
    assert reference.error(result) > 1000 * TOLERANCE


def guider(model, reference):
    if reference.cfg == 1.0:
        return custom.BasicGuider.execute(model, reference.positive)[0]
    return custom.CFGGuider.execute(model, reference.positive, reference.negative, reference.cfg)[0]


@pytest.mark.parametrize("task, variant", SINGLE)
def test_sampler_custom_advanced(task, variant, blocks):
    reference = golden.reference(task, variant)
    model, latent = blocks(golden.model()), reference.latent
    condition = condition_of(reference)
    if condition is not None:
        model, latent = applied(reference, model, condition)
    sigmas = PusaScheduler.execute(reference.steps, reference.shift, 1.0)[0]
    noise = custom.Noise_RandomNoise(reference.seed)
    sampler = custom.KSamplerSelect.execute("euler")[0]
    result = custom.SamplerCustomAdvanced.execute(noise, guider(model, reference), sampler, sigmas, latent)[0]
    assert reference.error(result["samples"]) <= TOLERANCE and blocks.as_expected(reference)


@pytest.mark.parametrize("task, variant", DUAL)
def test_two_ksamplers_advanced(task, variant, blocks):
    """The pair by hand: two KSampler (Advanced) with leftover noise between them; `simple` is the official grid at 10 steps."""
    reference = golden.reference(task, variant)
    assert 1000 % reference.steps == 0, "ComfyUI's simple scheduler is the official grid only where steps divide 1000"
    high, low = map(blocks, models_of(reference))
    latent, condition = reference.latent, condition_of(reference)
    if condition is None:
        high, low = (ModelSamplingSD3().patch(each, reference.shift)[0] for each in (high, low))
    else:
        low, _ = applied(reference, low, condition)
        high, latent = applied(reference, high, condition)
    switch = expert_switch(flow_match_sigmas(reference.steps, reference.shift), reference.switch_DiT_boundary)
    sample = core_nodes.KSamplerAdvanced().sample
    common = (reference.seed, reference.steps, reference.cfg, "euler", "simple", reference.positive, reference.negative)
    (half,) = sample(high, "enable", *common, latent, 0, switch, "enable")
    (result,) = sample(low, "disable", *common, half, switch, 10000, "disable")
    assert reference.error(result["samples"]) <= TOLERANCE and blocks.as_expected(reference)


@pytest.mark.parametrize("task, variant", DUAL)
def test_switch_step_is_the_official_one(task, variant):
    reference = golden.reference(task, variant)
    sigmas = flow_match_sigmas(reference.steps, reference.shift)
    assert expert_switch(sigmas, reference.switch_DiT_boundary) == reference.first_low_noise_step


@pytest.mark.parametrize("task, variant", EXACT)
def test_inputs_are_the_official_ones(task, variant):
    """The seeded noise and the sigma grid, which the runs above draw for themselves."""
    reference = golden.reference(task, variant)
    noise = custom.Noise_RandomNoise(reference.seed).generate_noise(reference.latent)
    assert torch.equal(noise, reference.tensors["noise"])
    sigmas = flow_match_sigmas(reference.steps, reference.shift)
    assert (sigmas - reference.tensors["sigmas"]).abs().max() <= 1e-6


@pytest.mark.parametrize("task, variant", EXACT)
def test_timesteps_are_the_official_vectors(task, variant):
    """What the network is handed at every step, to a thousandth of a timestep."""
    reference = golden.reference(task, variant)
    model, low = models_of(reference)
    seen = []
    for each in filter(None, (model, low)):
        watch_network(each, seen)
    ksampler(reference, model, low, condition_of(reference))
    calls_per_step = len(seen) // reference.steps
    given = torch.stack([t[0].expand(reference.latent_shape[2]) for _, t in seen[::calls_per_step]])
    assert (given - reference.timesteps).abs().max() <= 1e-3
