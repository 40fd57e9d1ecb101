"""Rolling Video: a clip through one window is the plain loop over its windows; prompts, given frames and lengths."""

import mochi
import pytest
import sampled
import tiny
import torch
from comfy.context_windows import ContextSchedules
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from pusa.nodes import PusaApplyCondition, PusaLatentFrames, PusaRollingVideo, PusaSchedule
from pusa.pusa_model.rolling import by_frame
from pusa.schedulers import flow_match_sigmas
from pusa.schedulers.level_table import delayed, lag_of_window, with_windows
from sampled import empty, given, random_frames, run

STEPS = 4


def rolling(model, prompts, negative, condition=None, latent=None, **changes):
    settings = dict(seed=7, length=45, window=5, steps=STEPS, block=1, cfg=1.0, shift=5.0) | changes
    positive = {f"prompt{number}": prompt for number, prompt in enumerate(prompts)}
    return PusaRollingVideo.execute(model, positive, negative, latent or empty(), condition=condition, **settings)[0]["samples"]


def loop(model, table, start, prompts):
    """Euler steps of the frames that a window holds, each told its own level, with the prompt of the first that moves."""
    x, network = start.clone(), model.model.diffusion_model
    with torch.inference_mode():
        for row, (low, high) in enumerate(table.windows):
            strides = table.levels[row + 1] - table.levels[row]
            first = int((strides < 0).nonzero().min())
            prompt = prompts[min(first * len(prompts) // table.frames, len(prompts) - 1)]
            v = network(x[:, :, low:high], 1000 * table.levels[row][None, low:high], prompt[0][0])
            x[:, :, low:high] += v * strides[None, None, low:high, None, None]
    return x


@pytest.mark.parametrize("window, block", [(5, 1), (5, 2), (3, 1), (50, 1)])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("with_frames", [False, True])
def test_a_clip_is_the_plain_loop_over_its_windows(wan, positive, negative, window, block, count, with_frames):
    prompts = [positive, negative, positive][:count]
    long, m = empty(12), torch.ones(12)
    start = custom.Noise_RandomNoise(7).generate_noise(long)
    condition = None
    if with_frames:
        condition = given(long, "0, 7", "0, 0.5")
        frames = sampled.FORMAT.process_in(random_frames(2))
        m[0], m[7] = 0, 0.5
        start[:, :, 0], start[:, :, 7] = frames[:, :, 0], 0.5 * start[:, :, 7] + 0.5 * frames[:, :, 1]
    table = with_windows(delayed(flow_match_sigmas(STEPS), m, lag_of_window(STEPS, min(window, 12), block), block), window)
    result = rolling(wan, prompts, negative, condition, window=window, block=block)
    assert result.shape == (1, 16, 12, 4, 4)
    expected = loop(wan, table, start, prompts)
    free = slice(1, None) if with_frames else slice(None)
    assert (sampled.FORMAT.process_in(result) - expected)[:, :, free].abs().max() < 1e-4
    if with_frames:
        assert torch.equal(result[:, :, 0], random_frames(2)[:, :, 0])


def test_a_window_of_the_whole_clip_is_a_schedule_without_one(wan, positive, negative):
    long = empty(12)
    lag = lag_of_window(STEPS, 12, 1)
    planned = PusaSchedule.execute(long, "delay", lag, 1, "forward", STEPS, 5.0)[0]
    whole = run(wan, positive, negative, long, planned)
    assert (rolling(wan, [positive], negative, window=12) - whole).abs().max() < 1e-4


def test_the_network_never_sees_more_than_the_window(wan, positive, negative):
    seen = []
    sampled.watch_network(wan, seen)
    rolling(wan, [positive], negative, length=81, window=4, cfg=3.0)
    assert {latent.shape[2] for latent, _ in seen} == {4}


def test_a_condition_of_a_shorter_clip_is_told(wan, positive, negative, caplog):
    result = rolling(wan, [positive], negative, given(empty(5), "4", "0"))
    assert "made for 5 latent frames, the clip has 12" in caplog.text and torch.equal(result[:, :, 4], random_frames(1)[:, :, 0])
    caplog.clear()
    rolling(wan, [positive], negative, given(empty(12), "4", "0"))
    assert "latent frames" not in caplog.text


def test_prompts_are_spread_over_the_clip(positive, negative):
    table = delayed(flow_match_sigmas(2), torch.ones(6), lag=1)
    rows = by_frame([positive, negative, positive], table)
    assert [options["pusa_rows"] for _, options in rows] == [(0, 3), (3, 5), (5, 7)]


BAD = {
    "a length": (dict(length=44), "4n \\+ 1|must be 4"),
    "a block": (dict(block=6), "`block` is 6, the window 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_roll_is_said(wan, positive, negative, name):
    changes, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        rolling(wan, [positive], negative, **changes)
    scheduled = PusaSchedule.execute(empty(), "delay", 1, 1, "forward", 4, 5.0)[0]
    with pytest.raises(ValueError, match="has a schedule; Rolling Video has one"):
        rolling(wan, [positive], negative, scheduled)
    with pytest.raises(ValueError, match="was made for 20 latent frames"):
        rolling(wan, [positive], negative, given(empty(20), "0", "0"))
    with pytest.raises(ValueError, match="noise mask, which does not roll"):
        rolling(wan, [positive], negative, latent=empty() | {"noise_mask": torch.ones(1, 1, 5, 4, 4)})
    with pytest.raises(ValueError, match="five axes"):
        rolling(wan, [positive], negative, latent={"samples": torch.zeros(1, 16, 8, 8)})
    reference = [[positive[0][0], {"time_dim_concat": torch.zeros(1, 16, 1, 4, 4)}]]
    with pytest.raises(ValueError, match="cannot roll along"):
        rolling(wan, [reference], negative)
    windows = {"context_stride": 1, "closed_loop": False, "fuse_method": "pyramid", "dim": 2, "freenoise": False}
    windowed = ContextWindowsManualNode.execute(wan, 3, 1, ContextSchedules.STATIC_STANDARD, **windows)[0]
    with pytest.raises(ValueError, match="cannot roll along"):
        rolling(windowed, [positive], negative)


def test_mochi_rolls_too():
    """A network with a forward of ours: levels of the window, an empty negative prompt, and a clean first frame as it was given."""
    model, latent = mochi.model(), {"samples": torch.zeros(1, 12, 2, 8, 8)}
    frame = torch.randn(1, 12, 1, 8, 8, generator=tiny.seeded(1))
    condition = PusaLatentFrames.execute(latent, {"samples": frame}, "0", "0")[0]
    result = rolling(model, [mochi.random_prompt()], mochi.empty_prompt(), condition, latent, length=49, window=4, steps=3, cfg=4.5)
    assert result.shape == (1, 12, 9, 8, 8) and torch.equal(result[:, :, :1], frame) and result.isfinite().all()
    lag = lag_of_window(3, 9, 1)
    long = {"samples": torch.zeros(1, 12, 9, 8, 8)}
    grid = custom.BasicScheduler.execute(model, "linear_quadratic", 3, 1.0)[0]
    planned = PusaSchedule.execute(long, "delay", lag, 1, "forward", 9, 1.0, given_in(long, frame), grid)[0]
    ours, target = PusaApplyCondition.execute(model, long, planned, 5.0)
    guider = custom.CFGGuider.execute(ours, mochi.random_prompt(), mochi.empty_prompt(), 4.5)[0]
    noise, sampler = custom.Noise_RandomNoise(7), custom.KSamplerSelect.execute("euler")[0]
    whole = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, planned.clock(), target)[0]["samples"]
    rolled = rolling(
        model, [mochi.random_prompt()], mochi.empty_prompt(), given_in(long, frame), long, length=49, window=9, steps=3, cfg=4.5
    )
    assert (rolled - whole).abs().max() < 1e-4


def given_in(latent, frame):
    return PusaLatentFrames.execute(latent, {"samples": frame}, "0", "0")[0]
