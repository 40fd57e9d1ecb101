"""Pusa V0.5 on ComfyUI's own Mochi 1: the official network and sampler, and stock behaviour where nothing is asked for."""

import re

import comfy.model_detection
import comfy.ops
import comfy.samplers
import comfy.supported_models
import mochi
import nodes as core_nodes
import pytest
import sampled
import tiny
import torch
from comfy.context_windows import ContextSchedules
from comfy.ldm.genmo.joint_model.asymm_models_joint import AsymmDiTJoint
from comfy.text_encoders.genmo import MochiT5Tokenizer, mochi_te
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from pusa.nodes import PusaApplyCondition, PusaKSampler, PusaLatentFrames, PusaSchedule
from pusa.pusa_model import sampling
from pusa.pusa_model.families.mochi import is_empty_prompt, velocity
from pusa.pusa_model.families.table import MOCHI
from pusa.schedulers import InputError
from safetensors.torch import load_file

TOLERANCE = 1e-4
VARIANTS = mochi.variants()
WITH_FRAMES = [pair for pair in VARIANTS if mochi.description(pair[0])["positions"]]


@pytest.fixture(scope="module")
def model():
    return mochi.model()


def condition_of(reference):
    if not reference.about["positions"]:
        return PusaLatentFrames.execute(reference.latent, {"samples": frames(1)}, "0", "1")[0]
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
    condition = condition_of(reference) if reference.about["positions"] else None
    result = ksampler(reference, with_replacement(model) if replaced else model, condition)
    assert reference.error(result) <= TOLERANCE


@pytest.mark.parametrize("task, variant", VARIANTS)
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


LATENT = {"samples": torch.zeros(1, 12, 4, 8, 8)}


def frames(count, seed=5, batch=1):
    return torch.randn(batch, 12, count, 8, 8, generator=tiny.seeded(seed))


def given(positions, noise, seed=5):
    placed = frames(len(positions.split(",")), seed)
    return PusaLatentFrames.execute(LATENT, {"samples": placed}, positions, noise)[0], placed


def run(model, condition=None, positive=None, negative=None, latent=None, **changes):
    settings = dict(seed=3, steps=3, cfg=4.5, shift=5.0, sampler_name="euler", scheduler=MOCHI.scheduler, denoise=1.0)
    prompts = positive or mochi.random_prompt(), negative or mochi.empty_prompt()
    return sampling.sample(model, *prompts, latent or LATENT, condition=condition, **(settings | changes))["samples"]


def core(model, positive, negative, latent=LATENT, cfg=4.5):
    return core_nodes.common_ksampler(model, 3, 3, cfg, "euler", MOCHI.scheduler, positive, negative, latent)[0]["samples"]


def test_stock_to_the_bit_where_nothing_is_asked_for(model, wan, positive, negative):
    """Without a condition and an empty prompt the run is core's, before and after a run with both; the MODEL keeps no patch."""
    text = mochi.random_prompt(), mochi.random_prompt(7, 4)
    before = core(model, *text)
    assert torch.equal(run(model, None, *text), before) and torch.equal(run(model, given("0", "1")[0], *text), before)
    first = run(model, given("0", "0.3")[0])
    for turn in range(10):
        run(model, given("1, 3", f"0, {turn / 10}")[0], cfg=1.0 + turn % 2, steps=1)
        sampled.run(wan, positive, negative, sampled.empty(), sampled.given(sampled.empty(), "0", "0.2"), steps=1)
    assert torch.equal(run(model, given("0", "0.3")[0]), first)
    assert torch.equal(core(model, *text), before) and not model.object_patches and not model.wrappers


def test_an_empty_prompt_attends_no_token(model):
    """Whatever its features are, positive or negative, with frames or without; at cfg 1 the negative one counts for nothing."""
    other = [[torch.randn_like(mochi.empty_prompt()[0][0]), mochi.empty_prompt()[0][1]]]
    for condition in (None, given("0", "0.3")[0]):
        result = run(model, condition)
        assert torch.equal(run(model, condition, negative=other), result)
        empty = run(model, condition, mochi.empty_prompt(), cfg=1.0)
        assert torch.equal(run(model, condition, other, cfg=1.0), empty)
        zeroed = core_nodes.ConditioningZeroOut().zero_out(mochi.empty_prompt())[0]
        assert torch.equal(run(model, condition, negative=zeroed), result)
    assert not torch.allclose(core(model, mochi.random_prompt(), other), core(model, mochi.random_prompt(), mochi.empty_prompt()))
    text = mochi.random_prompt(), mochi.empty_prompt()
    assert torch.equal(run(model, None, *text, cfg=1.0), core(model, *text, cfg=1.0))


def test_prompts_come_from_comfyui_s_text_encoder(model):
    """Its tokenizer and its T5 (a small one): a text has a mask of its tokens and the end; no text the end alone, which is none."""
    small = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 1}
    encoder, tokens = mochi_te()(dtype=torch.float32, model_options={"t5xxl_model_config": small}), MochiT5Tokenizer()
    encoder.load_state_dict(tiny.randomised(encoder.state_dict(), 4))

    def encoded(text):
        features, pooled, options = encoder.encode_token_weights(tokens.tokenize_with_weights(text))
        return [[features, {"pooled_output": pooled} | options]]

    words, none, long = encoded("A boat with a red sail"), encoded(""), encoded("word " * 400)
    assert [int(each[0][1]["attention_mask"].sum()) for each in (words, none)] == [8, 1] and words[0][0].shape == (1, 256, 32)
    assert not is_empty_prompt(words[0][1]) and is_empty_prompt(none[0][1])
    official = mochi.prompt(torch.zeros_like(none[0][0]), torch.zeros(1, 256))
    condition = given("0", "0.3")[0]
    assert torch.equal(run(model, condition, words, none), run(model, condition, words, official))
    said = []
    run(model, condition, long, none, steps=1, warn=said.append)
    assert any("trained with 256" in text for text in said)


def test_each_row_of_a_batch_has_its_own_prompt(model):
    """Rows with a long, a short and an empty prompt in one call are what each is by itself."""
    network = model.model.diffusion_model
    prompts = [mochi.random_prompt(seed, count)[0] for seed, count in ((1, 20), (2, 1), (3, 6))]
    x, levels = frames(4, 1, 3), torch.rand(3, 4, generator=tiny.seeded(2))
    context, mask = (torch.cat(each) for each in zip(*((f, o["attention_mask"]) for f, o in prompts)))
    with torch.inference_mode():
        together = velocity(network, x, levels, context, mask)
        for row, (features, options) in enumerate(prompts):
            alone = velocity(network, x[row : row + 1], levels[row : row + 1], features, options["attention_mask"])
            assert (together[row] - alone[0]).abs().max() < 2e-5
        count = prompts[0][1]["attention_mask"].sum().item()
        equal = velocity(network, x[:1], torch.full((1, 4), 0.3), context[:1], mask[:1])
        stock = type(network).forward(network, x[:1], torch.tensor([0.3]), context[:1], mask[:1], num_tokens=count)
        assert (equal - stock).abs().max() < 2e-5


@pytest.mark.parametrize("sampler_name", comfy.samplers.SAMPLER_NAMES)
def test_clean_frames_come_back_as_they_were_given(sampler_name, model):
    condition, placed = given("0, 2", "0, 0.4")
    result = run(model, condition, sampler_name=sampler_name, steps=2)
    assert torch.equal(result[:, :, 0], placed[:, :, 0]) and result.isfinite().all()
    assert (result[:, :, 2] - placed[:, :, 1]).abs().max() > 1e-2


def test_the_network_sees_what_the_vae_made(model):
    """Clean frames reach it raw in every call."""
    condition, placed = given("0", "0")
    seen = []

    def watch(apply, call):
        seen.append(call["input"][:, :, 0].clone())
        return apply(call["input"], call["timestep"], **call["c"])

    watched = model.clone()
    watched.set_model_unet_function_wrapper(watch)
    run(watched, condition, cfg=1.0)
    assert seen and all((latent - placed[:, :, 0]).abs().max() < 1e-5 for latent in seen)


def test_a_run_in_two_halves_is_the_whole_run(model):
    """KSampler (Advanced) twice: the first returns clean frames as they were given, the second places them anew."""
    condition, placed = given("0, 2", "0, 0.4")
    ours, latent = PusaApplyCondition.execute(model, LATENT, condition, 5.0)
    sample = core_nodes.KSamplerAdvanced().sample
    common = (3, 4, 4.5, "euler", MOCHI.scheduler, mochi.random_prompt(), mochi.empty_prompt())
    (whole,) = sample(ours, "enable", *common, latent, 0, 10000, "disable")
    (half,) = sample(ours, "enable", *common, latent, 0, 2, "enable")
    (halves,) = sample(ours, "disable", *common, half, 2, 10000, "disable")
    assert torch.equal(half["samples"][:, :, 0], placed[:, :, 0]) and torch.equal(whole["samples"][:, :, 0], placed[:, :, 0])
    assert (halves["samples"] - whole["samples"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("multiplier", [1, 1000])
def test_a_modelsampling_node_behind_keeps_the_family_s_timesteps(multiplier, model):
    ours, latent = PusaApplyCondition.execute(model, LATENT, given("0", "0.4")[0], 5.0)
    behind = ModelSamplingSD3().patch(ours, 3.0, multiplier=multiplier)[0]
    text = mochi.random_prompt(), mochi.empty_prompt()
    assert (core(behind, *text, latent) - core(ours, *text, latent)).abs().max() < TOLERANCE


@pytest.mark.parametrize("length, same", [(4, True), (2, False)])
def test_context_windows(length, same, model):
    condition, placed = given("0", "0")
    ours, latent = PusaApplyCondition.execute(model, LATENT, condition, 5.0)
    settings = {"context_stride": 1, "closed_loop": False, "fuse_method": "pyramid", "dim": 2, "freenoise": False}
    window = ContextWindowsManualNode.execute(ours, length, 1, ContextSchedules.STATIC_STANDARD, **settings)[0]
    text = mochi.random_prompt(), mochi.empty_prompt()
    windowed = core(window, *text, latent)
    assert torch.equal(windowed[:, :, 0], placed[:, :, 0]) and windowed.isfinite().all()
    assert same == bool((windowed - core(ours, *text, latent)).abs().max() < TOLERANCE)


def test_what_is_said_about_a_run(model):
    said = []
    run(model, scheduler="flow_match", warn=said.append)
    assert any("linear_quadratic" in text for text in said)
    said.clear()
    run(model, latent={"samples": torch.zeros(1, 16, 7, 8, 8)}, positive=mochi.random_prompt(tokens=300), warn=said.append)
    assert any("37 video frames here, not 25" in text and "EmptyMochiLatentVideo" in text for text in said)
    assert any("300 tokens" in text and "256" in text for text in said)
    said.clear()
    run(model, given("0", "0.4")[0], warn=said.append)
    assert said == []


def test_an_empty_latent_that_counts_in_fours_is_told_at_every_node(model, caplog):
    """25 frames asked for make 37; the clip is that long."""
    latent = {"samples": torch.zeros(1, 16, 7, 8, 8)}
    condition = PusaLatentFrames.execute(latent, {"samples": frames(1)}, "0", "0.4")[0]
    assert "37 video frames here, not 25" in caplog.text and condition.target == (12, 7, 8, 8)
    caplog.clear()
    planned = PusaSchedule.execute(latent, "delay", 1, 1, "forward", 3, 5.0, condition)[0]
    assert planned.target == condition.target
    target = PusaApplyCondition.execute(model, latent, condition, 5.0)[1]
    assert "37 video frames here, not 25" in caplog.text and target["samples"].shape == (1, 12, 7, 8, 8)
    caplog.clear()
    given("0", "0.4")
    assert "video frames here" not in caplog.text


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "without the mask"),
        ({"attention_mask": torch.ones(1, 256)}, "whole numbers"),
        ({"attention_mask": torch.ones(1, 9, dtype=int)}, "9"),
    ],
)
def test_prompts_of_other_encoders_are_refused(options, words, model):
    with pytest.raises(InputError, match=f"{words}.*type mochi"):
        run(model, positive=[[mochi.random_prompt()[0][0], options]])


def test_a_prompt_of_mochi_is_refused_by_wan(wan, negative):
    ((features, _),) = tiny.prompt(1)
    with pytest.raises(InputError, match="by another text encoder, so it is not for Wan.*type wan"):
        sampled.run(wan, mochi.prompt(features, torch.ones(features.shape[:2])), negative, sampled.empty())


def test_official_files_are_known_by_their_keys():
    """Names and shapes of the official V0.5 file, 10 billion parameters on the meta device, go through ComfyUI's detection."""
    shapes = load_file(mochi.FOLDER / mochi.INDEX["weights"]["file"])
    config = comfy.model_detection.detect_unet_config({key: each.to("meta") for key, each in shapes.items()}, "")
    with torch.device("meta"):
        about = comfy.supported_models.GenmoMochi(dict(config))
        network = AsymmDiTJoint(**config, dtype=torch.bfloat16, operations=comfy.ops.disable_weight_init, device="meta")
    keys = network.state_dict()
    found = comfy.model_detection.model_config_from_unet({key: each for key, each in keys.items()}, "")
    assert type(found) is type(about) and sum(each.numel() for each in keys.values()) > 10e9
    assert {re.sub(r"blocks\.\d+", "blocks.0", key) for key in keys} == {re.sub(r"blocks\.\d+", "blocks.0", key) for key in shapes}
