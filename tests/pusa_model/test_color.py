"""Colour matching and cross-fades."""

import pytest
import torch
from pusa.pusa_model.color import ColorMap, cross_fade


def frames(count=4, seed=0):
    return 0.3 + 0.3 * torch.rand(count, 8, 9, 3, generator=torch.Generator().manual_seed(seed))


SCALE, SHIFT = torch.tensor([0.8, 1.1, 1.0]), torch.tensor([0.05, -0.04, 0.1])


def test_a_drift_of_brightness_and_contrast_is_taken_back():
    given = frames()
    drifted = given * SCALE + SHIFT
    colors = ColorMap.between(drifted, given, 1.0)
    assert torch.allclose(colors.apply(drifted), given, atol=1e-6)
    later = frames(3, seed=1)
    assert torch.allclose(colors.apply(later * SCALE + SHIFT), later, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5])
def test_strength_takes_back_a_part(strength):
    given = frames()
    drifted = given * SCALE + SHIFT
    mended = ColorMap.between(drifted, given, strength).apply(drifted)
    expected = torch.lerp(drifted, given, strength)
    assert torch.allclose(mended, expected, atol=1e-6)


def test_a_flat_channel_keeps_its_contrast():
    given, drawn = frames(), torch.full((4, 8, 9, 3), 0.5)
    mended = ColorMap.between(drawn, given, 1.0).apply(drawn)
    assert torch.allclose(mended, given.mean((0, 1, 2)).expand_as(mended), atol=1e-6)


def test_two_maps_meet_in_the_middle():
    one, other = ColorMap(torch.ones(3), torch.zeros(3)), ColorMap(torch.ones(3), torch.full((3,), 0.2))
    mended = one.towards(other, torch.tensor([0.0, 0.5, 1.0])).apply(torch.full((3, 1, 1, 3), 0.5))
    assert torch.allclose(mended[:, 0, 0, 0], torch.tensor([0.5, 0.6, 0.7]))


def test_colours_stay_in_range():
    mended = ColorMap(torch.full((3,), 5.0), torch.full((3,), -1.8)).apply(frames())
    assert mended.min() == 0 and mended.max() == 1


def test_a_cross_fade_goes_in_even_steps_and_shows_neither_end():
    faded = cross_fade(torch.zeros(3, 1, 1, 3), torch.ones(3, 1, 1, 3))
    assert torch.allclose(faded[:, 0, 0, 0], torch.tensor([0.25, 0.5, 0.75]))
