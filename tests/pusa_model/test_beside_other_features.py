"""Per-frame timesteps beside ComfyUI's own features: windows, masks, caches, batches, previews, compilation."""

import comfy.context_windows
import comfy.model_base
import comfy.sample
import comfy.samplers
import pytest
import sampled
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_context_windows import ContextWindowsManualNode, WanContextWindowsManualNode
from comfy_extras.nodes_custom_sampler import (
    CFGGuider,
    DisableNoise,
    KSamplerSelect,
    RandomNoise,
    SamplerCustomAdvanced,
    SplitSigmas,
)
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from pusa.pusa_model import sampling
from pusa.schedulers import InputError, flow_match_sigmas
from sampled import empty, given, random_frames, run

LATENT = empty()
SCHEDULES = [
    comfy.context_windows.ContextSchedules.STATIC_STANDARD,
    comfy.context_windows.ContextSchedules.UNIFORM_STANDARD,
    comfy.context_windows.ContextSchedules.UNIFORM_LOOPED,
    comfy.context_windows.ContextSchedules.BATCHED,
]


def windowed(model, schedule=SCHEDULES[0], **changes):
    settings = dict(
        context_length=5, context_overlap=2, context_schedule=schedule, context_stride=1, closed_loop=False,
        fuse_method="pyramid", dim=2, freenoise=False, latent_retain_index_list="", causal_window_fix=True,
    )
    return ContextWindowsManualNode.execute(model, **(settings | changes))[0]


@pytest.mark.parametrize("changes", [{}, {"latent_retain_index_list": "0"}, {"causal_window_fix": False}, {"freenoise": True}])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_frame_of_a_window_has_its_own_level(wan, positive, negative, schedule, changes):
    """Clean frames are known by their content, wherever a window, its anchor or a retained index puts them: their timestep is 0,
    that of every other frame is not."""
    latent, seen = empty(12), []
    model = windowed(wan, schedule, **changes)
    sampled.watch_network(wan, seen)
    result = run(model, positive, negative, latent, given(latent, "0, 5, 11", "0, 0, 0"), seed=3)
    clean = sampled.FORMAT.process_in(random_frames(3))
    assert torch.equal(result[:, :, [0, 5, 11]], random_frames(3)) and torch.isfinite(result).all()
    assert any(x.shape[2] < 12 for x, _ in seen), "the clip was really sampled in windows"
    for x, t in seen:
        distance = (x[0, :, :, None] - clean[0, :, None]).abs().amax(dim=(0, 3, 4)).amin(dim=1)
        assert torch.equal(t[0] == 0, distance < 1e-5)


def test_the_wan_window_node_keeps_conditions_anywhere(wan, positive, negative):
    latent = empty(30)
    model = WanContextWindowsManualNode.execute(wan, 41, 13, SCHEDULES[1], 1, False, "pyramid", True, True)[0]
    result = run(model, positive, negative, latent, given(latent, "0, 14, 29", "0, 0, 0.3"))
    assert torch.equal(result[:, :, [0, 14]], random_frames(3)[:, :, :2])


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_batch_is_the_single_runs(wan, positive, negative, cfg):
    """Every row of a batch of two, with one condition for both and one each, is the run with that row's noise alone."""
    batch = empty(batch=2)
    frames = random_frames(2, batch=2)
    for each in (frames, frames[:1]):
        both = run(wan, positive, negative, batch, given(batch, "0, 3", "0, 0.4", frames=each), cfg=cfg)
        for row in range(2):
            single = {"samples": LATENT["samples"], "batch_index": [row]}
            one = run(wan, positive, negative, single, given(LATENT, "0, 3", "0, 0.4", frames=each[row % len(each)][None]), cfg=cfg)
            assert (both[row] - one[0]).abs().max() < 5e-5


def test_guidance_in_one_batch_or_in_two_is_the_same(wan, positive, negative, monkeypatch):
    condition = given(LATENT, "0, 3", "0, 0.4")
    together, rows = [], []
    sampled.watch_network(wan, rows)
    together = run(wan, positive, negative, LATENT, condition, cfg=3.0)
    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda *args, **kwargs: 1e30)
    apart = run(wan, positive, negative, LATENT, condition, cfg=3.0)
    assert {x.shape[0] for x, _ in rows} == {1, 2}, "both ways were really taken"
    assert (together - apart).abs().max() < 5e-5


@pytest.mark.parametrize("differential", [False, True])
@pytest.mark.parametrize("noise", ["0", "0.3"])
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m", "euler_ancestral", "lcm"])
def test_a_noise_mask_pins_what_it_covers(wan, positive, negative, sampler_name, noise, differential):
    """Where the mask is 0 the latent is returned, on condition frames and free ones alike; elsewhere it is sampled."""
    video = {"samples": random_frames(5, seed=4)}
    mask = torch.ones(1, 1, 5, 4, 4)
    mask[:, :, :2, :, :2] = 0
    condition = given(video, "0", noise)
    model = DifferentialDiffusion.execute(wan)[0] if differential else wan
    result = run(model, positive, negative, video | {"noise_mask": mask}, condition, sampler_name=sampler_name)
    expected = video["samples"].clone()
    expected[:, :, 0] = random_frames(1)[:, :, 0]
    assert (result - expected)[:, :, :2, :, :2].abs().max() < 1e-5
    assert (result - expected)[:, :, 1:, :, 2:].abs().max() > 0.1


def test_a_graded_mask_frees_condition_frames_step_by_step(wan, positive, negative):
    """Differential Diffusion: under a noisy sampler a condition frame is pinned until the mask's threshold, as under Euler."""
    video = {"samples": random_frames(5, seed=4), "noise_mask": torch.full((1, 1, 5, 4, 4), 0.5)}
    model, seen = DifferentialDiffusion.execute(wan)[0], []
    sampled.watch_network(wan, seen)
    for sampler_name in ("euler", "euler_ancestral"):
        run(model, positive, negative, video, given(video, "0", "0.4"), sampler_name=sampler_name, steps=8)
    euler, noisy = (torch.stack([x[0, :, 0] for x, _ in seen[i : i + 8]]) for i in (0, 8))
    assert (euler - noisy)[0].abs().max() < 1e-6 and (euler - noisy)[4].abs().max() < 1e-5
    assert not torch.equal(euler[4], euler[0])


@pytest.mark.parametrize("scheduler", ["flow_match", "simple", "beta", "sgm_uniform"])
def test_less_denoise_starts_free_frames_like_an_empty_latent(wan, positive, negative, scheduler):
    """denoise < 1: free frames of an empty latent start at sigma eps, as without conditions, and clean frames stay."""
    seen = []
    sampled.watch_network(wan, seen)
    result = run(wan, positive, negative, LATENT, given(LATENT, "1", "0"), denoise=0.6, scheduler=scheduler)
    run(wan, positive, negative, LATENT, denoise=0.6, scheduler=scheduler)
    (first, timesteps), (plain, _) = seen[0], seen[4]
    free = [0, 2, 3, 4]
    assert 0 < timesteps[0, 0] < 1000
    assert (first[:, :, free] - plain[:, :, free]).abs().max() < 1e-6
    assert torch.equal(result[:, :, 1], random_frames(1)[:, :, 0])


def test_splitting_a_run_anywhere_gives_the_whole_run(wan, positive, negative):
    """Hand-over between two samplers on one grid, both with the condition: leftover noise is un-noised and noised per frame."""
    condition = given(LATENT, "0, 2, 4", "0, 0.3, 0.8")
    model, latent = sampling.prepare(wan, LATENT, condition, 5.0)
    guider, sampler = CFGGuider.execute(model, positive, negative, 3.0)[0], KSamplerSelect.execute("euler")[0]
    sigmas, noise = flow_match_sigmas(6), RandomNoise.execute(7)[0]
    whole = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]["samples"]
    for step in (1, 3, 5):
        high, low = SplitSigmas.execute(sigmas, step)
        half = SamplerCustomAdvanced.execute(noise, guider, sampler, high, latent)[0]
        rest = SamplerCustomAdvanced.execute(DisableNoise.execute()[0], guider, sampler, low, half)[0]["samples"]
        assert (whole - rest).abs().max() < 1e-4


@pytest.mark.parametrize("sampler_name", ["euler", "euler_ancestral"])
@pytest.mark.parametrize("cache", [EasyCacheNode, LazyCacheNode])
@pytest.mark.parametrize("behind", [False, True])
def test_step_caches_leave_clean_frames_alone(wan, positive, negative, cache, behind, sampler_name):
    """With a cache that skips most steps, on either side of the patch, clean frames are exact and the rest is finite."""
    def cached(model):
        return cache.execute(model, 3.0, 0.1, 0.95, False)[0]

    condition, seen = given(LATENT, "0, 2", "0, 0.3"), []
    sampled.watch_network(wan, seen)
    model, latent = sampling.prepare(wan if behind else cached(wan), LATENT, condition, 5.0)
    model = cached(model) if behind else model
    guider, sampler = CFGGuider.execute(model, positive, negative, 1.0)[0], KSamplerSelect.execute(sampler_name)[0]
    noise = RandomNoise.execute(7)[0]
    result = SamplerCustomAdvanced.execute(noise, guider, sampler, flow_match_sigmas(20), latent)[0]["samples"]
    assert len(seen) < 20, "the cache really skipped steps"
    assert torch.equal(result[:, :, 0], random_frames(2)[:, :, 0]) and torch.isfinite(result).all()


def test_compiled_and_plain_agree(wan, positive, negative):
    condition = given(LATENT, "0, 2", "0, 0.3")
    plain = run(wan, positive, negative, LATENT, condition)
    compiled = wan.clone()
    set_torch_compile_wrapper(model=compiled, backend="eager")
    assert (run(compiled, positive, negative, LATENT, condition) - plain).abs().max() < 1e-5


def test_reference_frames_behind_the_clip_take_the_global_timestep(wan, positive, negative):
    """Phantom's reference latents (time_dim_concat) are no frames of the clip: they keep the sampler's own timestep."""
    seen = []
    sampled.watch_network(wan, seen)
    reference = random_frames(2, seed=9)
    positive = [[positive[0][0], {"time_dim_concat": reference}]]
    result = run(wan, positive, negative, LATENT, given(LATENT, "0, 2", "0, 0.3"))
    if seen[0][0].shape[2] == LATENT["samples"].shape[2]:
        pytest.fail("the reference frames did not reach the network, so this test shows nothing")
    x, t = seen[0]
    assert t.shape == (1, 7) and torch.equal(t[0, 5:], t[0, 3:5]) and t[0, 0] == 0
    assert torch.equal(result[:, :, 0], random_frames(2)[:, :, 0])


def test_references_in_the_context_are_refused(wan, positive, negative):
    """Bernini's (context_latents) lie in front of the clip, with a time of their own."""
    positive = [[positive[0][0], {"context_latents": [random_frames(1, seed=9)]}]]
    with pytest.raises(InputError, match="in-context reference latents cannot be combined with a Pusa condition"):
        run(wan, positive, negative, LATENT, given(LATENT, "0, 2", "0, 0.3"))


def test_previews_show_condition_frames_as_they_are(wan, positive, negative):
    """The denoised picture handed to the preview holds the clean frame from the first step on."""
    shown = []
    model, latent = sampling.prepare(wan, LATENT, given(LATENT, "0, 2", "0, 0.3"), 5.0)
    comfy.sample.sample_custom(
        model, random_frames(5, seed=5), 1.0, comfy.samplers.sampler_object("euler"), flow_match_sigmas(4), positive,
        negative, latent["samples"], callback=lambda step, denoised, x, total: shown.append((step, denoised, total)), seed=7,
    )
    clean = sampled.FORMAT.process_in(random_frames(2)[:, :, :1])
    assert [(step, total) for step, _, total in shown] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    for _, denoised, _ in shown:
        assert (denoised[:, :, :1] - clean).abs().max() < 1e-6
