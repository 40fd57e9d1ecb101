"""Sigma grids of a run, and how the two experts of Wan2.2 share it."""

import comfy.cli_args
import comfy.samplers
import comfy.utils
import latent_preview
import pytest
import sampled
import tiny
import torch
from comfy.patcher_extension import CallbacksMP
from PIL import Image
from pusa.pusa_model import sampling
from pusa.schedulers import InputError, flow_match_sigmas
from relatives import causal_model
from sampled import empty, given, run

LINEAR_QUADRATIC = [1, 0.995, 0.99, 0.985, 0.98, 0.975, 0.932, 0.813, 0.618, 0.347, 0]


@pytest.mark.parametrize("denoise", [1.0, 0.6])
@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
@pytest.mark.parametrize("sampler_name", ["euler", "dpm_2"])
def test_comfyui_schedules_are_those_of_ksampler(wan, sampler_name, scheduler, denoise):
    model = sampling.with_shift(wan, 5.0)
    core = comfy.samplers.KSampler(model, 10, model.load_device, sampler_name, scheduler, denoise, model.model_options)
    assert torch.equal(sampling.sigma_grid(model, sampler_name, scheduler, 10, 5.0, denoise), core.sigmas)


def test_flow_match_is_the_official_grid_and_simple_only_nearly(wan):
    """ComfyUI's `simple` takes the grid from a table of 1000 levels: equal where the steps divide 1000, 0.003 off at 30."""
    model = sampling.with_shift(wan, 5.0)
    for steps, apart in ((10, 1e-6), (20, 1e-6), (30, 5e-3)):
        ours, simple = (sampling.sigma_grid(model, "euler", name, steps, 5.0, 1.0) for name in ("flow_match", "simple"))
        assert torch.equal(ours, flow_match_sigmas(steps, 5.0))
        assert apart / 100 < (ours - simple).abs().max() + 1e-7 and (ours - simple).abs().max() < apart


def test_the_schedule_of_pusa_v05_is_comfyuis_linear_quadratic(wan):
    """Invariant 11."""
    grid = sampling.sigma_grid(wan, "euler", "linear_quadratic", 10, 5.0, 1.0)
    assert (grid - torch.tensor(LINEAR_QUADRATIC)).abs().max() < 6e-4


@pytest.mark.parametrize("boundary, high_steps", [(0.0, 10), (0.5, 9), (0.875, 5), (1.0, 1)])
def test_the_experts_share_the_steps_at_the_boundary(wan, positive, negative, boundary, high_steps):
    """Every step is taken once, by the expert that the global level names, whatever the levels of the condition frames."""
    high, low = [], []
    other = tiny.wan_model(tiny.wan_weights(10))
    sampled.watch_network(wan, high)
    sampled.watch_network(other, low)
    latent = empty()
    run(wan, positive, negative, latent, given(latent, "0, 2", "0, 0.1"), model_low=other, boundary=boundary, steps=10)
    assert (len(high), len(low)) == (high_steps, 10 - high_steps)
    levels = torch.tensor([t[0, -1] for _, t in high + low]) / 1000
    assert (levels - flow_match_sigmas(10)[:-1]).abs().max() < 1e-6


def test_each_expert_has_its_own_guidance(wan, positive, negative):
    """cfg 1 on one expert is one call per step there, cfg 3 on the other two rows per step."""
    high, low = [], []
    other = tiny.wan_model(tiny.wan_weights(10))
    sampled.watch_network(wan, high)
    sampled.watch_network(other, low)
    run(wan, positive, negative, empty(), model_low=other, steps=10, cfg=3.0, cfg_low=1.0)
    assert sum(len(x) for x, _ in high) == 10 and sum(len(x) for x, _ in low) == 5


def test_the_latent_keeps_what_belongs_to_it(wan, positive, negative):
    """Entries of the LATENT are handed on, the mark of an empty latent is not, and the input stays as it was."""
    latent = empty() | {"batch_index": [3], "downscale_ratio_spacial": 8}
    before = latent["samples"].clone()
    result = sampling.sample(
        wan,
        positive,
        negative,
        latent,
        seed=1,
        steps=1,
        cfg=1.0,
        shift=5.0,
        sampler_name="euler",
        scheduler="flow_match",
        denoise=1.0,
        condition=given(latent, "0", "0"),
    )
    assert result.keys() == {"samples", "batch_index"} and torch.equal(latent["samples"], before)


@pytest.mark.parametrize("conditioned", [False, True])
def test_what_takes_no_vector_is_refused_with_and_without_a_condition(positive, negative, conditioned):
    latent = empty()
    model = causal_model()
    condition = given(latent, "0", "0") if conditioned else None
    with pytest.raises(InputError, match="causal autoregressive Wan"):
        run(model, positive, negative, latent, condition)
    with pytest.raises(InputError, match="`model_low`"):
        run(tiny.wan_model(tiny.wan_weights()), positive, negative, latent, condition, model_low=model)


@pytest.mark.parametrize("progress, shown", [(None, [1, 2, 3]), ((6, 12), [7, 8, 9])])
@pytest.mark.parametrize("pair", [False, True])
def test_progress_counts_every_step_of_the_whole_once(wan, positive, negative, progress, shown, pair, monkeypatch):
    told = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0, raising=False)  # steps are faster here than ComfyUI tells
    changes = {"model_low": tiny.wan_model(tiny.wan_weights(10)), "boundary": 0.9} if pair else {}
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: told.append((value, total)))
    try:
        run(wan, positive, negative, empty(), steps=3, progress=progress, **changes)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert told == [(value, 12 if progress else 3) for value in shown]


@pytest.mark.parametrize("boundary, used", [(0.0, ["high"]), (0.9, ["high", "low"])])
def test_an_expert_without_steps_is_not_loaded(wan, positive, negative, boundary, used):
    began = []
    other = tiny.wan_model(tiny.wan_weights(10))
    for model, name in ((wan, "high"), (other, "low")):
        model.add_callback(CallbacksMP.ON_PRE_RUN, lambda patcher, name=name: began.append(name))
    run(wan, positive, negative, empty(), steps=3, model_low=other, boundary=boundary)
    assert began == used


@pytest.mark.parametrize("positions", ["0", "0, 4", "4", "0, 1, 3, 4"])
def test_the_preview_shows_a_frame_that_is_made(wan, positive, negative, monkeypatch, positions):
    """ComfyUI's previewer takes the first latent frame it is given; a clean given one would look the same in every step."""
    pictures, latent = [], empty()
    monkeypatch.setattr(comfy.cli_args.args, "preview_method", comfy.cli_args.LatentPreviewMethod.Latent2RGB)
    comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **more: pictures.append(preview[1].tobytes()))
    try:
        run(wan, positive, negative, latent, given(latent, positions, "0"))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert len(pictures) == len(set(pictures)) == 4


def test_a_preview_that_moves_is_given_every_frame(wan, positive, negative, monkeypatch):
    """Other packs put a previewer of their own into ComfyUI, which shows the whole clip."""
    shapes = []

    class Moving(latent_preview.LatentPreviewer):
        def decode_latent_to_preview(self, x0):
            shapes.append(x0.shape)
            return Image.new("RGB", (8, 8))

    monkeypatch.setattr(latent_preview, "get_previewer", lambda device, latent_format: Moving())
    latent = empty()
    run(wan, positive, negative, latent, given(latent, "0", "0"))
    assert set(shapes) == {latent["samples"].shape}
