"""Pusa V0.5 on ComfyUI's own Mochi 1: the official network and sampler, and stock behaviour where nothing is asked for."""

import mochi
import pytest
from comfy_extras import nodes_custom_sampler as custom
from pusa.nodes import PusaApplyCondition, PusaKSampler, PusaLatentFrames
from pusa.pusa_model.families.table import MOCHI

TOLERANCE = 1e-4
VARIANTS = mochi.variants()
WITH_FRAMES = [pair for pair in VARIANTS if mochi.description(pair[0])["positions"]]


@pytest.fixture(scope="module")
def model():
    return mochi.model()


def condition_of(reference):
    if not reference.about["positions"]:
        return None
    positions, noise = (", ".join(map(str, reference.about[name])) for name in ("positions", "multipliers"))
    return PusaLatentFrames.execute(reference.latent, {"samples": reference.tensors["cond"]}, positions, noise)[0]


def ksampler(reference, model, condition, **changes):
    settings = dict(seed=reference.about["seed"], steps=reference.about["steps"], cfg=reference.cfg, shift=5.0)
    settings |= dict(sampler_name="euler", scheduler=MOCHI.scheduler, denoise=1.0, condition=condition)
    made = PusaKSampler.execute(model, reference.positive, reference.negative, reference.latent, **(settings | changes))
    return made[0]["samples"]


def with_replacement(model):
    """A clone in which another pack's replacement calls each block."""
    patched = model.clone()
    for index in range(len(model.model.diffusion_model.blocks)):
        patched.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", "double_block", index)
    return patched


@pytest.mark.parametrize("replaced", [False, True], ids=["blocks", "replaced blocks"])
@pytest.mark.parametrize("task, variant", VARIANTS)
def test_ksampler(task, variant, replaced, model):
    reference = mochi.reference(task, variant)
    result = ksampler(reference, with_replacement(model) if replaced else model, condition_of(reference))
    assert reference.error(result) <= TOLERANCE


@pytest.mark.parametrize("task, variant", WITH_FRAMES)
def test_sampler_custom_advanced(task, variant, model):
    reference = mochi.reference(task, variant)
    ours, latent = PusaApplyCondition.execute(model, reference.latent, condition_of(reference), 5.0)
    sigmas = custom.BasicScheduler.execute(ours, MOCHI.scheduler, reference.about["steps"], 1.0)[0]
    guider = custom.CFGGuider.execute(ours, reference.positive, reference.negative, reference.cfg)[0]
    noise, sampler = custom.Noise_RandomNoise(reference.about["seed"]), custom.KSamplerSelect.execute("euler")[0]
    result = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]["samples"]
    assert reference.error(result) <= TOLERANCE


@pytest.mark.parametrize("task, variant", WITH_FRAMES)
def test_a_wrong_multiplier_would_be_seen(task, variant, model):
    reference = mochi.reference(task, variant)
    reference.about["multipliers"] = [m + 0.01 for m in reference.about["multipliers"]]
    assert reference.error(ksampler(reference, model, condition_of(reference))) > 100 * TOLERANCE
