"""Levels that a step is trained on: their distribution, who shares them, and their range."""

import pytest
import torch
from pusa.schedulers import InputError
from pusa.training.data.order import generator
from pusa.training.method.timesteps import draw_levels, level_grid
from pusa.training.settings import EXPERTS, Settings

CLIPS, FRAMES = 4000, 21


def drawn(clips=CLIPS, **settings):
    return draw_levels(Settings(**settings), clips, FRAMES, generator("test", 0))


def shared(levels):
    return (levels == levels[:, :1]).all(1)


@pytest.mark.parametrize("timesteps", ["vector", "scalar"])
def test_the_distribution_is_the_shifted_one(timesteps):
    levels = drawn(clips=CLIPS if timesteps == "vector" else CLIPS * FRAMES, timesteps=timesteps)
    assert levels.mean() == pytest.approx(0.748, abs=0.003)
    assert (levels >= 0.875).float().mean() == pytest.approx(0.42, abs=0.01)
    assert (levels >= 0.5).float().mean() == pytest.approx(0.83, abs=0.01)
    assert (levels < 0.25).float().mean() == pytest.approx(0.06, abs=0.01)
    assert set(levels.unique().tolist()) <= set(level_grid(5.0).tolist())


def test_shift_one_is_even():
    assert drawn(shift=1.0).mean() == pytest.approx(0.5, abs=0.005)
    assert level_grid(1.0).mean() == pytest.approx(0.5005)


def test_the_grid_ends_at_pure_noise_and_leaves_zero_out():
    grid = level_grid(5.0)
    assert len(grid) == 1000 and grid[0] == 1 and grid[-1] > 0 and (grid.diff() < 0).all()


def test_frames_are_drawn_apart():
    levels = drawn()
    assert levels.shape == (CLIPS, FRAMES) and not shared(levels).any()
    correlation = torch.corrcoef(levels.T)
    assert (correlation - torch.eye(FRAMES)).abs().max() < 0.1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_ptss_draws_its_share_of_clips_together(share):
    levels = drawn(p_async=share)
    assert shared(levels).float().mean() == pytest.approx(1 - share, abs=0.025)
    assert levels.mean() == pytest.approx(0.748, abs=0.012)


def test_scalar_is_one_level_per_clip():
    assert drawn(timesteps="scalar").shape == (CLIPS, 1)


def test_a_range_of_frames_holds_for_every_frame():
    levels = drawn(sigma_min=0.3, sigma_max=0.6, sigma_range="frame")
    assert levels.min() >= 0.3 and levels.max() <= 0.6


@pytest.mark.parametrize("expert", EXPERTS)
@pytest.mark.parametrize("share", [1.0, 0.0])
def test_a_range_of_clips_holds_for_their_highest_level(expert, share):
    low, high = EXPERTS[expert]
    highest = drawn(sigma_min=low, sigma_max=high, p_async=share).amax(1)
    assert highest.min() >= low and highest.max() <= high


def test_the_high_noise_expert_sees_cleaner_frames_beside_noisy_ones():
    """Else it would never learn what a condition frame is."""
    levels = drawn(sigma_min=0.875)
    assert (levels < 0.5).float().mean() == pytest.approx(0.17, abs=0.01)


def test_a_clip_below_the_range_gets_one_frame_inside():
    levels = draw_levels(Settings(sigma_min=0.99), CLIPS, 2, generator("test", 1))
    inside = (levels >= 0.99).sum(1)
    assert inside.min() == 1 and (inside == 1).float().mean() > 0.8
    assert 0.4 < (levels[:, 0] >= 0.99).float().mean() < 0.6


def test_conditions_are_drawn_as_they_are_sampled():
    levels = drawn(p_condition=1.0)
    shared_level = levels.amax(1, keepdim=True)
    condition = levels < shared_level
    assert shared_level.mean() == pytest.approx(0.748, abs=0.01)
    assert set(condition.sum(1).tolist()) == set(range(1, FRAMES // 2 + 1))
    multipliers = (levels / shared_level)[condition]
    assert (multipliers == 0).float().mean() == pytest.approx(0.75, abs=0.02)
    assert multipliers[multipliers > 0].mean() == pytest.approx(0.5, abs=0.02)
    clean = ((levels == 0) == condition).all(1).float().mean()
    assert clean == pytest.approx(0.5 + 0.5 * 0.1, abs=0.03), "every other clip, and a few by chance"


def test_conditions_are_the_first_frames_the_last_ones_or_any():
    levels = drawn(p_condition=1.0)
    condition = levels < levels.amax(1, keepdim=True)
    count = condition.sum(1)
    first = (condition.cumprod(1).sum(1) == count).float().mean()
    last = (condition.flip(1).cumprod(1).sum(1) == count).float().mean()
    assert first == pytest.approx(1 / 3, abs=0.03) and last == pytest.approx(1 / 3, abs=0.03)
    middle = condition[:, FRAMES // 2].float().mean()
    assert middle == pytest.approx(5.5 / FRAMES / 3, abs=0.02)


def test_conditions_are_drawn_in_their_share_of_clips():
    clean = (drawn(p_condition=0.25) == 0).any(1)
    assert clean.float().mean() == pytest.approx(0.25 * 0.95, abs=0.05)


def test_a_clip_of_one_frame_has_no_conditions():
    assert (draw_levels(Settings(p_condition=1.0), 50, 1, generator("test", 2)) > 0).all()


@pytest.mark.parametrize("expert", EXPERTS)
def test_conditions_of_an_expert_stand_beside_levels_of_its_range(expert):
    low, high = EXPERTS[expert]
    highest = drawn(sigma_min=low, sigma_max=high, p_condition=1.0).amax(1)
    assert highest.min() >= low and highest.max() <= high


def test_an_empty_range_is_refused():
    with pytest.raises(InputError, match="no noise level lies between `sigma_min` 0.0001 and `sigma_max` 0.0002"):
        drawn(sigma_min=0.0001, sigma_max=0.0002)
