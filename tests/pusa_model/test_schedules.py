"""Levels for every frame and every step: the official runs, identities under every sampler, and runs in pieces."""

import json

import comfy.latent_formats
import comfy.sample
import comfy.samplers
import golden
import pytest
import sampled
import tiny
import torch
from comfy.context_windows import ContextSchedules
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from pusa.nodes import PusaApplyCondition, PusaLatentFrames
from pusa.pusa_model.paths.renoise import fresh_noise
from pusa.schedulers import InputError, flow_match_sigmas
from safetensors.torch import load_file
from sampled import advanced, empty, given, random_frames, run, scheduled

FOLDER = golden.FOLDER / "skyreels"
FORMAT = comfy.latent_formats.Wan21()
SAMPLERS = comfy.samplers.SAMPLER_NAMES
LATENT = empty()
DELAYS = {"lag 2": dict(lag=2), "lag 1 of blocks": dict(lag=1, block=2), "center": dict(lag=1, order="center")}


def plain_loop(model, table, start, prompt, latents=None):
    """``x_i += v_i (S[k + 1, i] - S[k, i])``, each frame told its own level."""
    x, network = start.clone(), model.model.diffusion_model
    with torch.inference_mode():
        for row in range(table.rows):
            v = network(x, 1000 * table.levels[row][None], prompt[0][0])
            x = x + v * (table.levels[row + 1] - table.levels[row])[None, None, :, None, None]
    return x


def official(task):
    about = json.loads((FOLDER / f"{task}.json").read_text())
    return about, load_file(FOLDER / f"{task}.safetensors"), load_file(FOLDER / "prompts.safetensors")


TASKS = list(json.loads((FOLDER / "index.json").read_text())["tasks"])
FLOAT = [(task, key.split("/")[0]) for task in TASKS for key in official(task)[1] if key.endswith("/final_float")]


@pytest.mark.parametrize("task, variant", FLOAT)
def test_official_asynchronous_runs(task, variant):
    about, tensors, prompts = official(task)
    settings = about["variants"][variant]
    if settings["sched"] != "euler":
        pytest.skip("the official UniPC of each frame starts its corrector from a wrong sample")
    positive, negative = ([[prompts[name].float(), {}]] for name in ("ctx_pos", "ctx_neg"))
    cfg, start = settings.get("cfg", 1.0), tensors["start"]
    latent = {"samples": torch.zeros_like(start)}
    condition, clock = scheduled(latent=latent, sigmas=tensors["sigmas"], lag=settings["ar"], block=settings["block"])
    assert len(clock) == settings["rows"] + 1
    result = advanced(tiny.wan_model(golden.weights()), condition, clock, positive, negative, latent, cfg, noise=start)
    assert (FORMAT.process_in(result) - tensors[f"{variant}/final_float"]).abs().max() < (1e-4 if cfg == 1 else 2e-4)


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_scaled_is_what_it_is_without_a_schedule(wan, positive, negative, sampler_name):
    condition = given(LATENT, "0, 3", "0, 0.4")
    planned, _ = scheduled("scaled", condition)
    before = run(wan, positive, negative, LATENT, condition, sampler_name=sampler_name)
    assert torch.equal(run(wan, positive, negative, LATENT, planned, sampler_name=sampler_name), before)
    alone, _ = scheduled(lag=0)
    plain = run(wan, positive, negative, LATENT, sampler_name=sampler_name)
    assert torch.equal(run(wan, positive, negative, LATENT, alone, sampler_name=sampler_name), plain)


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_every_sampler_goes_through_the_table_as_euler_does(wan, positive, negative, sampler_name, caplog):
    """Frames that wait keep their noise, what is clean does not move and is told 0, and the result is that of the plain loop."""
    condition = given(LATENT, "0, 3", "0, 0.5")
    planned, clock = scheduled(condition=condition)
    seen, before = [], clock.clone()
    sampled.watch_network(wan, seen)
    result = advanced(wan, planned, clock, positive, negative, sampler=sampler_name)
    frames = FORMAT.process_in(random_frames(2))
    start = custom.Noise_RandomNoise(7).generate_noise(LATENT)
    start[:, :, 0] = frames[:, :, 0]
    start[:, :, 3] = 0.5 * start[:, :, 3] + 0.5 * frames[:, :, 1]
    expected = plain_loop(wan, planned.table(), start, positive)
    free = (FORMAT.process_in(result)[:, :, 1:] - expected[:, :, 1:]).abs().max()
    if sampler_name in ("dpm_fast", "dpm_adaptive"):  # they choose levels of their own, which is told
        assert "levels of its own" in caplog.text and result.isfinite().all()
    else:
        shifted = any(word in sampler_name for word in ("sde", "seeds", "sa_solver", "exp_heun"))  # at the first level
        assert free < (2e-3 if shifted else 1e-4) and "levels" not in caplog.text
    assert torch.equal(result[:, :, :1], random_frames(2)[:, :, :1]) and torch.equal(clock, before)
    for latent, told in seen:
        assert told[0, 0] == 0 and (latent[:, :, 0] - frames[:, :, 0]).abs().max() < 1e-5
        waiting = [frame for frame in (1, 2, 4) if told[0, frame] == 1000]
        assert (latent[:, :, waiting] - start[:, :, waiting]).abs().max() < 1e-4 if waiting else True


@pytest.mark.parametrize("name", DELAYS)
@pytest.mark.parametrize("noise", [None, "0, 0", "0.3, 0.6"])
def test_ksampler_drives_the_clock(wan, positive, negative, name, noise):
    """Its own steps, scheduler and shift make the grid; SamplerCustomAdvanced with the same grid gives the same."""
    condition = None if noise is None else given(LATENT, "0, 4", noise)
    planned, _ = scheduled(condition=condition, steps=9, shift=2.0, **DELAYS[name])
    by_hand, clock = scheduled(condition=condition, sigmas=flow_match_sigmas(4), **DELAYS[name])
    result = run(wan, positive, negative, LATENT, planned, cfg=3.0)
    assert (result - advanced(wan, by_hand, clock, positive, negative, cfg=3.0)).abs().max() < 1e-5
    hold, _ = scheduled("hold", condition)
    assert run(wan, positive, negative, LATENT, hold).isfinite().all()


@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m", "heun", "euler_ancestral"])
@pytest.mark.parametrize("kind", ["delay", "hold"])
def test_a_run_in_pieces_is_the_whole_run(wan, positive, negative, kind, sampler_name):
    planned, clock = scheduled(kind, given(LATENT, "0, 4", "0, 0.5"))
    ours, target = PusaApplyCondition.execute(wan, LATENT, planned, 5.0)
    guider = custom.CFGGuider.execute(ours, positive, negative, 1.0)[0]
    sampler = custom.KSamplerSelect.execute(sampler_name)[0]
    sample, noise = custom.SamplerCustomAdvanced.execute, custom.Noise_RandomNoise(7)
    whole = sample(noise, guider, sampler, clock, target)[0]["samples"]
    table_frames = [1, 2, 3] if kind == "delay" else [4]
    for row in range(1, len(clock) - 1):
        first = sample(noise, guider, sampler, clock[: row + 1], target)[0]
        second = sample(custom.Noise_EmptyNoise(), guider, sampler, clock[row:], first)[0]["samples"]
        assert second.isfinite().all() and torch.equal(second[:, :, 0], whole[:, :, 0])
        if sampler_name == "euler":
            assert (second - whole)[:, :, table_frames].abs().max() < 2e-3


def test_what_cannot_be_scheduled_is_said(wan, positive, negative):
    planned, clock = scheduled(condition=given(LATENT, "0", "0"))
    with pytest.raises(ValueError, match="has a schedule already"):
        PusaLatentFrames.execute(LATENT, {"samples": random_frames(1)}, "2", "0", planned)
    with pytest.raises(ValueError, match="has a schedule already"):
        scheduled(condition=planned)
    with pytest.raises(InputError, match="both sides of the boundary"):
        run(wan, positive, negative, LATENT, planned, model_low=tiny.wan_model(tiny.wan_weights(10)))
    with pytest.raises(ValueError, match="`block` is 9; it is 1 to 5"):
        scheduled(block=9)
    with pytest.raises(ValueError, match="does not fall"):
        scheduled(sigmas=torch.tensor([1.0, 1.0]))
    with pytest.raises(ValueError, match="no `often` for renoise|there is no `often`"):
        PusaLatentFrames.execute(LATENT, {"samples": random_frames(1)}, "2", "0", renoise="often")


def test_levels_that_are_none_of_the_clock_are_told(wan, positive, negative, caplog):
    planned, clock = scheduled(condition=given(LATENT, "0", "0"))
    result = advanced(wan, planned, flow_match_sigmas(7), positive, negative)
    assert result.isfinite().all() and "none of the schedule's" in caplog.text
    caplog.clear()
    advanced(wan, planned, clock, positive, negative)
    assert "schedule" not in caplog.text


def test_a_batch_has_its_own_noise(wan, positive, negative):
    """Rows of a batch are the runs of their own draws, and fresh noise differs from row to row."""
    latent, frames = empty(batch=2), random_frames(1)
    condition = given(latent, "0", "0", frames=frames)
    planned, clock = scheduled(condition=condition, latent=latent)
    result = advanced(wan, planned, clock, positive, negative, latent)
    assert torch.equal(result[:, :, 0], frames[:, :, 0].expand(2, -1, -1, -1)) and not torch.equal(result[0], result[1])
    noise = custom.Noise_RandomNoise(7).generate_noise(latent)
    single = scheduled(condition=given(LATENT, "0", "0", frames=frames))[0]
    for row in range(2):
        alone = advanced(wan, single, clock, positive, negative, noise=noise[row : row + 1])
        assert (alone - result[row : row + 1]).abs().max() < 1e-4
    first, second = fresh_noise(noise[:, :, 0], 7, 0, 1)
    assert not torch.equal(first, second) and not torch.equal(first, noise[0, :, 1])


@pytest.mark.parametrize("kind", ["delay", "hold"])
def test_a_masked_frame_stays_what_it_is(wan, positive, negative, kind):
    """A noise mask of 0 on a frame that the schedule moves keeps that frame."""
    held = random_frames(5, seed=3)
    mask = torch.ones(1, 1, 5, 4, 4)
    mask[:, :, 2] = 0
    latent = {"samples": held, "noise_mask": mask}
    planned, _ = scheduled(kind, given(latent, "0", "0.5"), latent)
    result = run(wan, positive, negative, latent, planned)
    assert (result[:, :, 2] - held[:, :, 2]).abs().max() < 1e-4
    assert (result[:, :, 3] - held[:, :, 3]).abs().max() > 1e-2 and result.isfinite().all()


@pytest.mark.parametrize("length", [5, 3])
def test_context_windows_go_through_the_table(wan, positive, negative, length):
    planned, clock = scheduled(condition=given(LATENT, "0", "0"))
    windowed = ContextWindowsManualNode.execute(
        wan,
        length,
        1,
        ContextSchedules.STATIC_STANDARD,
        context_stride=1,
        closed_loop=False,
        fuse_method="pyramid",
        dim=2,
        freenoise=False,
    )[0]
    result = advanced(windowed, planned, clock, positive, negative)
    assert torch.equal(result[:, :, 0], random_frames(1)[:, :, 0]) and result.isfinite().all()
    if length == 5:
        assert (result - advanced(wan, planned, clock, positive, negative)).abs().max() < 1e-4


def test_part_of_the_noise(wan, positive, negative):
    """With denoise below 1 the frames wait at the level that the run begins at."""
    seen, latent = [], {"samples": random_frames(5, seed=3)}
    planned, _ = scheduled(latent=latent)
    sampled.watch_network(wan, seen)
    result = run(wan, positive, negative, latent, planned, denoise=0.5)
    first = float(flow_match_sigmas(4, 5.0, 0.5)[0])
    assert result.isfinite().all() and (seen[0][1] - 1000 * first).abs().max() < 1e-2 and first < 1
    start = (1 - first) * FORMAT.process_in(latent["samples"]) + first * custom.Noise_RandomNoise(7).generate_noise(latent)
    assert (seen[0][0] - start).abs().max() < 1e-4


def test_previews_show_frames_without_noise(wan, positive, negative):
    """What a sampler's callback is given of a frame that waits is a prediction, not the frame with its noise."""
    planned, clock = scheduled(condition=given(LATENT, "0", "0"))
    ours, target = PusaApplyCondition.execute(wan, LATENT, planned, 5.0)
    shown, seen = [], []
    sampled.watch_network(wan, seen)
    comfy.sample.sample_custom(
        ours, custom.Noise_RandomNoise(7).generate_noise(LATENT), 1.0, comfy.samplers.sampler_object("euler"), clock, positive,
        negative, target["samples"], callback=lambda step, denoised, x, total: shown.append(denoised.clone()), seed=7,
    )  # fmt: skip
    with torch.inference_mode():
        for denoised, (x, told) in zip(shown, seen.copy(), strict=True):
            v = wan.model.diffusion_model(x, told, positive[0][0])
            assert (denoised - (x - told[:, None, :, None, None] / 1000 * v)).abs().max() < 1e-4
