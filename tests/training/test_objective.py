"""Flow matching per frame, and the loss."""

import pytest
import torch
from pusa.training.data.order import generator
from pusa.training.method.objective import gaussian_weight, loss, noised, target
from pusa.training.method.timesteps import level_grid
from pusa.training.run import drop_captions


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CLEAN, NOISE = rand(2, 4, 3, 5, 6), rand(2, 4, 3, 5, 6, seed=1)
SIGMA = torch.tensor([[0.1, 0.5, 1.0], [0.9, 0.2, 0.7]])
CLEAN_FRAME = torch.tensor([[0.0, 0.5, 1.0], [0.9, 0.0, 0.7]])


def test_each_frame_is_noised_to_its_own_level():
    x = noised(CLEAN, NOISE, CLEAN_FRAME)
    for clip in range(2):
        for frame in range(3):
            level = CLEAN_FRAME[clip, frame]
            expected = (1 - level) * CLEAN[clip, :, frame] + level * NOISE[clip, :, frame]
            assert torch.equal(x[clip, :, frame], expected)
    assert torch.equal(x[0, :, 0], CLEAN[0, :, 0]) and torch.equal(x[0, :, 2], NOISE[0, :, 2])


def test_one_level_is_the_same_for_all_frames():
    assert torch.equal(noised(CLEAN, NOISE, SIGMA[:, :1]), noised(CLEAN, NOISE, SIGMA[:, :1].expand(2, 3)))


def test_the_target_is_the_slope_of_the_path():
    slope = (noised(CLEAN, NOISE, SIGMA + 0.01) - noised(CLEAN, NOISE, SIGMA)) / 0.01
    assert torch.allclose(slope, target(CLEAN, NOISE), atol=1e-4)
    denoised = noised(CLEAN, NOISE, SIGMA) - SIGMA[:, None, :, None, None] * target(CLEAN, NOISE)
    assert torch.allclose(denoised, CLEAN, atol=1e-6)


@pytest.mark.parametrize("level, weight", [(1.0, 0.0), (0.9, 0.63), (0.7, 1.67), (0.5, 2.08), (0.2, 1.21)])
def test_the_weights_are_those_of_the_official_scheduler(level, weight):
    assert gaussian_weight(torch.tensor(level)) == pytest.approx(weight, abs=0.006)


@pytest.mark.parametrize("shift", [1.0, 5.0, 8.0])
def test_the_weights_have_mean_one_over_the_grid(shift):
    weights = gaussian_weight(level_grid(shift).double(), shift)
    assert weights.mean() == pytest.approx(1, abs=1e-6) and weights.min() == pytest.approx(0, abs=1e-6)


def frame_errors(predicted, wanted):
    return (predicted - wanted).square().mean(dim=(1, 3, 4))


def test_no_weighting_is_the_mean_squared_error():
    assert loss(CLEAN, NOISE, SIGMA, "none", 5.0) == pytest.approx(torch.nn.functional.mse_loss(CLEAN, NOISE).item())


def test_gaussian_weighs_each_frame_by_its_own_level():
    expected = (frame_errors(CLEAN, NOISE) * gaussian_weight(SIGMA)).mean()
    assert loss(CLEAN, NOISE, SIGMA, "gaussian", 5.0) == pytest.approx(expected.item())


def test_gaussian_is_deaf_to_a_frame_of_pure_noise_and_official_is_not():
    spoiled = CLEAN.clone()
    spoiled[0, :, 2] += 10  # its level is 1

    def change(weighting):
        return loss(spoiled, NOISE, SIGMA, weighting, 5.0) / loss(CLEAN, NOISE, SIGMA, weighting, 5.0)

    assert change("gaussian") == pytest.approx(1, rel=1e-5) and change("official") > 2


def test_official_multiplies_the_error_of_a_clip_with_its_mean_weight():
    first = loss(CLEAN[:1], NOISE[:1], SIGMA[:1], "official", 5.0)
    expected = torch.nn.functional.mse_loss(CLEAN[:1], NOISE[:1]) * gaussian_weight(SIGMA[:1]).mean()
    assert first == pytest.approx(expected.item())
    second = loss(CLEAN[1:], NOISE[1:], SIGMA[1:], "official", 5.0)
    assert loss(CLEAN, NOISE, SIGMA, "official", 5.0) == pytest.approx(((first + second) / 2).item())


@pytest.mark.parametrize("weighting", ["none", "gaussian", "official"])
def test_a_clean_frame_does_not_count(weighting):
    spoiled = CLEAN.clone()
    spoiled[0, :, 0] += 10
    spoiled[1, :, 1] -= 10
    value = loss(spoiled, NOISE, CLEAN_FRAME, weighting, 5.0)
    assert value == loss(CLEAN, NOISE, CLEAN_FRAME, weighting, 5.0)
    kept = torch.stack([CLEAN[0, :, 1:], CLEAN[1, :, ::2]]), torch.stack([NOISE[0, :, 1:], NOISE[1, :, ::2]])
    levels = torch.stack([CLEAN_FRAME[0, 1:], CLEAN_FRAME[1, ::2]])
    assert value == pytest.approx(loss(*kept, levels, weighting, 5.0).item())


def test_official_is_nearly_unweighted_for_a_clip_of_21_frames():
    """The factor is 1.00 +- 0.15, so the official model was trained on an almost plain squared error."""
    grid = level_grid(5.0)
    picks = torch.randint(1000, (4000, 21), generator=torch.Generator().manual_seed(0))
    factors = gaussian_weight(grid[picks]).mean(1)
    assert factors.mean() == pytest.approx(1, abs=0.01) and factors.std() == pytest.approx(0.15, abs=0.02)


def test_the_loss_is_computed_in_float32():
    predicted = CLEAN.to(torch.bfloat16)
    assert loss(predicted, NOISE, SIGMA, "none", 5.0) == loss(predicted.float(), NOISE, SIGMA, "none", 5.0)


def test_dropped_captions_become_the_empty_prompt():
    context, empty = torch.ones(2000, 4, 3), torch.full((2, 3), 5.0)
    dropped = drop_captions(context, empty, 0.3, generator("test"))
    gone = dropped[:, 0, 0] == 5
    assert gone.float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(dropped[gone][0], torch.cat([empty, torch.zeros(2, 3)])) and torch.equal(dropped[~gone], context[~gone])
    assert not drop_captions(context, None, 1.0, generator("test")).any()
    assert drop_captions(context, empty, 0.0, generator("test")) is context
