"""Beside other packs a condition is applied as a whole, or the run says what is in its way; what is harmless is never refused."""

import comfy.model_management
import comfy.sample
import comfy.samplers
import neighbours
import pytest
import tiny
import torch
from comfy_extras import nodes_custom_sampler as custom
from neighbours import HARMLESS, IN_THE_WAY
from pusa.nodes.sampling import PusaApplyCondition, PusaKSampler
from pusa.pusa_model import sampling
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import flow_match_sigmas

STEPS, SEED, CFG = 3, 7, 3.0
EMPTY = torch.zeros(1, 16, 5, 8, 8)
GIVEN = torch.randn(1, 16, 2, 8, 8, generator=tiny.seeded(0))
EULER = comfy.samplers.sampler_object("euler")


@pytest.fixture(params=["0, 0.2", "0.3"])
def condition(request):
    return timeline.latent_frames(EMPTY, GIVEN, "0, 4", request.param)


def ksampler(model, condition):
    settings = (SEED, STEPS, CFG, 5.0, "euler", "flow_match", 1.0, condition)
    with torch.inference_mode():
        return PusaKSampler.execute(model, tiny.prompt(3), tiny.prompt(4), {"samples": EMPTY}, *settings)[0]["samples"]


def custom_advanced(model, latent, guider=comfy.samplers.CFGGuider, sampler=EULER, sigmas=None):
    guided = guider(model)
    guided.set_conds(tiny.prompt(3), tiny.prompt(4))
    guided.set_cfg(CFG)
    noise = custom.RandomNoise.execute(SEED)[0]
    sigmas = flow_match_sigmas(STEPS) if sigmas is None else sigmas
    with torch.inference_mode():
        return custom.SamplerCustomAdvanced.execute(noise, guided, sampler, sigmas, latent)[0]["samples"]


def applied(model, condition):
    return PusaApplyCondition.execute(model, {"samples": EMPTY}, condition, 5.0).args


def near(found, reference):
    return float((found - reference).abs().max()) < 2e-4


def clean_frames_are_exact(found, condition):
    return all(torch.equal(found[:, :, p], GIVEN[:, :, i]) for i, p in enumerate((0, 4)) if condition.vector()[p] == 0)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_changes_nothing(wan, condition, name):
    neighbour = HARMLESS[name]
    reference = ksampler(wan, condition)
    found = [ksampler(neighbour(wan), condition)]
    model, latent = applied(neighbour(wan), condition)
    found.append(custom_advanced(model, latent))
    model, latent = applied(wan, condition)
    found.append(custom_advanced(neighbour(model), latent))
    assert all(near(each, reference) and clean_frames_are_exact(each, condition) for each in found)


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_is_in_the_way_is_said(wan, condition, name):
    """The right result or a sentence, in either order."""
    neighbour = IN_THE_WAY[name]
    model, latent = applied(wan, condition)
    reference = custom_advanced(model, latent)
    ways = {
        "KSampler (Pusa): ": lambda: ksampler(neighbour(wan), condition),
        "Apply Condition (Pusa): ": lambda: custom_advanced(*applied(neighbour(wan), condition)),
        "Apply Condition (Pusa): the": lambda: custom_advanced(neighbour(model), latent),
    }
    refused = 0
    for node, way in ways.items():
        try:
            assert near(way(), reference)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(node.removesuffix("the")) and "custom_nodes" not in str(error) and len(str(error)) < 500
    assert refused
    assert near(custom_advanced(model, latent), reference), "a refused run leaves nothing behind"


def test_too_little_memory_is_not_blamed_on_a_neighbour(wan, condition):
    def full(*args, **kwargs):
        raise comfy.model_management.OOM_EXCEPTION("full")

    model, latent = applied(neighbours.object_patch("forward_orig", lambda network: full)(wan), condition)
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="full"):
        custom_advanced(model, latent)


def test_a_guider_with_a_prediction_of_its_own_is_harmless(wan, condition):
    model, latent = applied(wan, condition)
    assert torch.equal(custom_advanced(model, latent, neighbours.OwnPrediction), custom_advanced(model, latent))


def test_a_sampler_behind_another_in_one_run_is_as_it_is_alone(wan, condition):
    model, latent = applied(wan, condition)
    assert torch.equal(custom_advanced(model, latent, neighbours.Draft), custom_advanced(model, latent))


PAST = [neighbours.PastPredictNoise, neighbours.PastAfterOnce, neighbours.PastSamplerSample, neighbours.PastOuterSample]


@pytest.mark.parametrize("guider", PAST)
def test_a_guider_past_the_wrappers_is_refused(wan, condition, guider):
    model, latent = applied(wan, condition)
    with pytest.raises(ValueError, match="wrappers, so") as error:
        custom_advanced(model, latent, guider)
    assert guider is not neighbours.PastPredictNoise or guider.__name__ in str(error.value)


def test_the_class_of_another_clone_is_not_ours(wan, condition):
    """Packs patch the class of the network that all clones share: what counts is the clone at hand."""
    reference = ksampler(wan, condition)
    foreign = IN_THE_WAY["a class whose forward runs no wrapper"](wan)
    with pytest.raises(ValueError, match="special Wan model"):
        ksampler(foreign, condition)
    latent = torch.randn(EMPTY.shape, generator=tiny.seeded(5))
    with torch.inference_mode():
        comfy.sample.sample(foreign, latent, 1, 1.0, "euler", "simple", tiny.prompt(3), tiny.prompt(4), EMPTY, disable_pbar=True)
    assert type(wan.model.diffusion_model) is neighbours.ForeignWan, "it is still loaded"
    assert near(ksampler(wan, condition), reference)
    with pytest.raises(ValueError, match="special Wan model"):
        ksampler(foreign, condition)


SINGLE, DOUBLE = torch.float32, torch.float64


@pytest.mark.parametrize("dtypes", [(DOUBLE, SINGLE, SINGLE), (DOUBLE, DOUBLE, SINGLE), (DOUBLE, SINGLE, DOUBLE), (DOUBLE,) * 3])
@pytest.mark.parametrize("mask", [False, True])
def test_samplers_in_double_precision(wan, condition, dtypes, mask):
    model, latent = applied(wan, condition)
    if mask:
        latent = latent | {"noise_mask": torch.linspace(0, 1, 5)[None, None, :, None, None].expand(1, 1, 5, 8, 8)}
    reference = custom_advanced(model, latent, sampler=neighbours.euler())
    found = custom_advanced(model, latent, sampler=neighbours.euler(*dtypes)).float()
    assert near(found, reference) and clean_frames_are_exact(found, condition)


def test_a_run_that_ends_above_0_ends_at_the_same_levels_on_the_own_path(wan, condition):
    model, latent = applied(wan, condition)
    sigmas = flow_match_sigmas(STEPS)[:-1]
    own, core = (custom_advanced(model, latent, sampler=sampler, sigmas=sigmas) for sampler in (neighbours.euler(), EULER))
    assert near(own, core)


@pytest.mark.parametrize("dips", [(0.0,), (-0.01, -0.5), (1e-38,), (-0.5, 0.3)])
def test_calls_at_a_level_that_is_not_above_0(wan, condition, dips):
    """They tell nothing of where a frame goes: what follows its own path comes back to where it was."""
    model, latent = applied(wan, condition)
    found = custom_advanced(model, latent, sampler=neighbours.euler(dips=dips))
    assert found.isfinite().all() and clean_frames_are_exact(found, condition)
    if max(dips) < 0.1:
        assert near(found, custom_advanced(model, latent, sampler=neighbours.euler()))


def test_levels_are_not_written_over(wan, condition):
    """ComfyUI's uni_pc sets the last of the levels that it is given to 0.001."""
    model, latent = applied(wan, condition)
    sigmas = flow_match_sigmas(STEPS)
    given = sigmas.clone()
    custom_advanced(model, latent, sampler=comfy.samplers.sampler_object("uni_pc"), sigmas=sigmas)
    assert torch.equal(sigmas, given)


@pytest.mark.parametrize("start", [0, 1])
def test_a_condition_behind_add_noise_is_refused(wan, condition, start):
    model, latent = applied(wan, condition)
    sigmas = flow_match_sigmas(STEPS)[start:]
    noised = custom.AddNoise.execute(model, custom.RandomNoise.execute(1)[0], sigmas[:1], latent)[0]
    guider = custom.CFGGuider.execute(model, tiny.prompt(3), tiny.prompt(4), CFG)[0]
    with torch.inference_mode(), pytest.raises(ValueError, match="RandomNoise"):
        custom.SamplerCustomAdvanced.execute(custom.DisableNoise.execute()[0], guider, EULER, sigmas, noised)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_levels_that_are_not_finite_are_refused(wan, condition, value):
    model, latent = applied(wan, condition)
    with pytest.raises(ValueError, match="Apply Condition .Pusa.: `sigmas`"):
        custom_advanced(model, latent, sigmas=torch.tensor([value, 0.5, 0.0]))


@pytest.mark.parametrize("temporal, z", [(0.5, 0.0), (0.5, 0.5), (0.2, 0.4)])
def test_a_prompt_for_a_part_of_the_time_has_the_levels_of_that_part(wan, temporal, z):
    """The network is told each frame of the part as in the whole clip, in one batch or in several."""
    from comfy.patcher_extension import WrappersMP
    from comfy_extras.nodes_video_model import ConditioningSetAreaPercentageVideo

    latent = torch.zeros(1, 16, 10, 8, 8)
    condition = timeline.latent_frames(latent, torch.randn(1, 16, 3, 8, 8, generator=tiny.seeded(1)), "0, 5, 9", "0, 0.2, 0.4")
    seen = []

    def note(executor, x, timestep, *args, **kwargs):
        seen.append(timestep)
        return executor(x, timestep, *args, **kwargs)

    model, placed = sampling.prepare(wan, {"samples": latent}, condition, 5.0)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "note", note)
    part = ConditioningSetAreaPercentageVideo().append(tiny.prompt(9), 1.0, 1.0, temporal, 0.0, 0.0, z, 1.0)[0]
    other = ConditioningSetAreaPercentageVideo().append(tiny.prompt(8), 1.0, 1.0, temporal, 0.0, 0.0, 0.0, 1.0)[0]
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(tiny.prompt(3) + part + other, tiny.prompt(4))
    guider.set_cfg(CFG)
    noise = comfy.sample.prepare_noise(placed["samples"], 1)
    with torch.inference_mode():
        out = guider.sample(noise, placed["samples"], EULER, flow_match_sigmas(2), disable_pbar=True, seed=1)
    assert torch.equal(out[:, :, :1], condition.frames[:, :, :1])
    whole = 1000 * condition.vector()
    length, first = round(10 * temporal), round(10 * z)
    wanted = {tuple(whole.tolist()), tuple(whole[first : first + length].tolist()), tuple(whole[:length].tolist())}
    assert {tuple(row.tolist()) for step in seen for row in step if row.max() > 990 or len(row) < 10 and row.shape} >= wanted
