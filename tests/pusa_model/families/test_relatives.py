"""Relatives of Wan with a condition: each class is taken with the right number for every token, or refused with the reason."""

import inspect

import comfy.ldm.wan.ar_model
import comfy.ldm.wan.model
import comfy.ldm.wan.model_animate
import comfy.ldm.wan.model_wandancer
import comfy.sample
import comfy.samplers
import pytest
import relatives
import sampled
import tiny
import torch
from pusa.nodes import PusaApplyCondition
from pusa.pusa_model import sampling
from pusa.pusa_model.families.lookup import network_record
from pusa.pusa_model.families.networks import WAN_RELATIVES
from pusa.pusa_model.guards import advice
from pusa.schedulers import InputError
from relatives import CAUSAL, LENGTH, RELATIVES, SIDE, model_of

LATENT = sampled.empty(LENGTH, size=SIDE)
GIVEN = [(name, what) for name, relative in RELATIVES.items() for what in relative.given]
OWN_START = ("image-to-video", "image-to-video with CLIP", "Fun Control", "Fun InP", "Camera")


def prompts(options=None):
    """A positive and a negative prompt with more to them than text."""
    return [[[features, about | (options or {})] for features, about in tiny.prompt(seed)] for seed in (3, 4)]


def condition(positions="0, last", noise="0, 0.4"):
    return sampled.given(LATENT, positions, noise, frames=sampled.random_frames(len(positions.split(",")), size=SIDE))


def run(model, options=None, given=None, **changes):
    return sampled.run(model, *prompts(options), LATENT, given, **changes)


def close(one, other, limit):
    return float((one - other).abs().max()) <= limit * float(other.std())


def test_every_class_of_comfyui_is_in_the_table_or_refused():
    rooms = (comfy.ldm.wan.model, comfy.ldm.wan.model_animate, comfy.ldm.wan.model_wandancer, comfy.ldm.wan.ar_model)
    wan = comfy.ldm.wan.model.WanModel
    classes = {kind for room in rooms for kind in vars(room).values() if inspect.isclass(kind) and issubclass(kind, wan)}
    assert {kind.__name__ for kind in classes} == WAN_RELATIVES.keys()
    assert {relative.network for relative in (*RELATIVES.values(), CAUSAL)} == classes


def test_what_stays_refused_says_why():
    with pytest.raises(InputError, match="causal autoregressive Wan: it makes a clip block by block and keeps .* one timestep"):
        run(relatives.causal_model(), given=condition())


@pytest.mark.parametrize("name", RELATIVES)
def test_equal_levels_are_the_run_with_one_number(name):
    """All frames at 0.5 of level 1: the run that ComfyUI's own sampler begins at 0.5 with the same latent."""
    model, frames = model_of(name), sampled.random_frames(LENGTH, size=SIDE)
    half = sampled.given(LATENT, "0-4", "0.5", frames=frames)
    ours, latent = sampling.prepare(model, LATENT, half, 5.0)
    noise, (positive, negative) = torch.randn(LATENT["samples"].shape, generator=tiny.seeded(9)), prompts()
    euler = comfy.samplers.sampler_object("euler")
    one_step, half_step = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0])
    result = comfy.sample.sample_custom(ours, noise, 3.0, euler, one_step, positive, negative, latent["samples"])
    scalar = comfy.sample.sample_custom(model, noise, 3.0, euler, half_step, positive, negative, frames)
    assert close(result, scalar, 2e-5)


@pytest.mark.parametrize(
    "name, what, sampler",
    [(name, None, sampler) for name in RELATIVES for sampler in ("euler", "dpmpp_2m", "euler_ancestral", "lcm")]
    + [(*given, sampler) for given in GIVEN for sampler in ("euler", "euler_ancestral")],
)
def test_a_clean_frame_is_exact_and_the_run_finite(name, what, sampler):
    given = condition()
    options = RELATIVES[name].given[what] if what else {}
    result = run(model_of(name), options, given, sampler_name=sampler, cfg=3.0, steps=3)
    assert torch.equal(result[:, :, 0], given.frames[:, :, 0]) and result.isfinite().all()


@pytest.mark.parametrize("name, what", GIVEN)
def test_what_is_given_beside_the_clip_acts(name, what):
    model = model_of(name)
    with_it, without = run(model, RELATIVES[name].given[what], condition()), run(model, {}, condition())
    assert torch.equal(with_it[:, :, 0], without[:, :, 0]) and not close(with_it, without, 1e-3)


@pytest.mark.parametrize("name, what", [(name, what) for name, what in GIVEN if name not in ("VACE", "Camera", "Animate")])
def test_every_token_of_the_clip_has_its_own_frame_s_timestep(name, what):
    """A network whose tokens show nothing but their timestep makes the same clip with a reference beside it as without."""
    told = model_of(name, told=True)
    assert close(run(told, RELATIVES[name].given[what], condition()), run(told, {}, condition()), 1e-5)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_vace_at_strength_0_is_text_to_video(sampler):
    """The same blocks without those of VACE, with the same condition: bit for bit."""
    weights = tiny.wan_weights(network=comfy.ldm.wan.model.VaceWanModel, vace_layers=1, vace_in_dim=96)
    plain = {key: tensor for key, tensor in weights.items() if not key.startswith("vace_")}
    control = RELATIVES["VACE"].given["control"]
    runs = [
        run(tiny.wan_model(some), options, condition(), sampler_name=sampler, cfg=3.0)
        for some, options in ((weights, control | {"vace_strength": [0.0]}), (plain, {}))
    ]
    assert torch.equal(*runs)


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_vace_with_a_reference_picture_in_front_of_the_clip(vae, sampler):
    """Core's node makes the latent longer by trim_latent, so video frame p is latent p + trim_latent."""
    from comfy_extras.nodes_wan import TrimVideoLatent, WanVaceToVideo

    size, picture = 8 * SIDE, torch.rand(1, 8 * SIDE, 8 * SIDE, 3, generator=tiny.seeded(1))
    made = WanVaceToVideo.execute(*prompts(), vae, size, size, 4 * LENGTH - 3, 1, 1.0, reference_image=picture)
    positive, negative, latent, trim = made.result
    assert trim == 1 and latent["samples"].shape[2] == LENGTH + 1
    given = sampled.given(latent, f"{trim}, last", "0, 0.4", frames=sampled.random_frames(2, size=SIDE))
    result = sampled.run(model_of("VACE"), positive, negative, latent, given, sampler_name=sampler, cfg=3.0)
    clip = TrimVideoLatent.execute({"samples": result}, trim).result[0]["samples"]
    assert torch.equal(clip[:, :, 0], given.frames[:, :, 0]) and clip.isfinite().all()


def test_camera_without_a_path_is_the_plain_network():
    weights = tiny.wan_weights(network=comfy.ldm.wan.model.CameraWanModel, channels=36, model_type="camera_2.2")
    plain = {key: tensor for key, tensor in weights.items() if not key.startswith("control_adapter")}
    assert torch.equal(*(run(tiny.wan_model(some), {}, condition(), cfg=3.0) for some in (weights, plain)))


@pytest.mark.parametrize("name", ["VACE", "Camera"])
def test_the_exchanged_forwards_are_the_clone_s_alone(name):
    """The base samples as before, while the clone is loaded and after; a run without a condition exchanges nothing."""
    model = model_of(name)
    before = run(model)
    run(model, {}, condition())
    assert torch.equal(run(model), before)
    free = sampled.given(LATENT, "0", "1", frames=sampled.random_frames(1, size=SIDE))
    assert torch.equal(run(model, {}, free), before) and not sampling.prepare(model, LATENT, free, 5.0)[0].object_patches.keys() - {
        "model_sampling"
    }


def test_a_second_exchange_by_another_pack_is_named():
    model = model_of("VACE").clone()
    model.add_object_patch("diffusion_model.time_embedding.forward", lambda features: features)
    with pytest.raises(InputError, match="another node has replaced `diffusion_model.time_embedding.forward`"):
        run(model, {}, condition())


@pytest.mark.parametrize("name", RELATIVES)
def test_a_model_that_the_lora_was_not_made_for_is_told_with_a_condition(name):
    model = model_of(name)
    told, silent = (
        [text for text in advice(model, 1.0, 20, conditioned) if "made for text-to-video" in text] for conditioned in (True, False)
    )
    assert len(told) == (network_record(model).remark is not None) and (name not in OWN_START or told) and not silent


def test_it_is_told_before_sampling():
    said = []
    run(model_of("Camera"), {}, condition(), warn=said.append)
    assert [text for text in said if "made for text-to-video" in text] == [said[0]]


@pytest.mark.parametrize("name, noise, told", [("Camera", "0", 1), ("Camera", "1", 0), ("text-to-video", "0", 0)])
def test_it_is_told_on_apply_condition(name, noise, told, caplog):
    PusaApplyCondition.execute(model_of(name), LATENT, condition("0", noise), 5.0)
    assert len([record for record in caplog.records if "made for text-to-video" in record.getMessage()]) == told


def test_a_reference_that_shares_no_group_with_the_clip_is_refused():
    odd = {"context_latents": [torch.randn(1, 16, 1, 34, 74, generator=tiny.seeded(1))]}
    latent = sampled.empty(3, size=32)
    given = sampled.given(latent, "0", "0", frames=sampled.random_frames(1, size=32))
    with pytest.raises(InputError, match="256 tokens, a reference beside it 629: .*size of the clip"):
        sampled.run(model_of("Bernini"), *prompts(odd), latent, given)


def test_pictures_beside_an_s2v_clip_that_do_not_divide_evenly_are_refused():
    latent = sampled.empty(3, size=12)
    given = sampled.given(latent, "0", "0", frames=sampled.random_frames(1, size=12))
    motion = {"reference_motion": relatives.picture(2, 19, side=12)}
    with pytest.raises(InputError, match="tokens for .* timesteps of .* multiple of 128 pixels"):
        sampled.run(model_of("S2V"), *prompts(motion), latent, given)
