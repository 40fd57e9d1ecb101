"""Colour matching and cross-fades."""

import pytest
import torch
from pusa.pusa_model.video.color import ColorMap, cross_fade


def frames(count=4, seed=0):
    """Frames of coloured squares."""
    squares = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.5 * torch.nn.functional.interpolate(squares, size=(8, 8)).movedim(1, -1)


SCALE, SHIFT = torch.tensor([0.8, 1.1, 1.0]), torch.tensor([0.05, -0.04, 0.1])


def test_a_drift_of_brightness_and_contrast_is_taken_back():
    given = frames()
    drifted = given * SCALE + SHIFT
    colors = ColorMap.between(drifted, given, 1.0)
    assert torch.allclose(colors.apply(drifted), given, atol=3e-3)
    later = frames(3, seed=1)
    assert torch.allclose(colors.apply(later * SCALE + SHIFT), later, atol=3e-3)


def test_things_that_were_drawn_elsewhere_do_not_count():
    """A square that moved on a graded ground: the drift of the ground is found, not the move."""
    ground = torch.linspace(0.2, 0.5, 32)[None, :, None, None].expand(5, 32, 32, 3)
    given, drawn = ground.clone(), ground * SCALE + SHIFT
    given[:, 4:12, 4:12], drawn[:, 6:14, 12:20] = 0.9, 0.9
    mended = ColorMap.between(drawn, given, 1.0).apply(drawn)
    assert (mended - given)[:, :, 24:].abs().max() < 0.01


def test_what_was_drawn_far_off_does_not_hide_what_was_drawn_a_little_off():
    """A few squares that are white in one, and a few more that are darker: the ground, which is most of it, stays as it is."""
    given = torch.linspace(0.2, 0.5, 32)[None, :, None, None].expand(1, 32, 32, 3)
    drawn = given.clone()
    drawn[:, :, :4] += 0.05
    drawn[:, :, -4:] = 1.0
    mended = ColorMap.between(drawn, given, 1.0).apply(given)
    assert (mended - given).abs().max() < 1e-3


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5])
def test_strength_takes_back_a_part(strength):
    given = frames()
    drifted = given * SCALE + SHIFT
    whole, part = (ColorMap.between(drifted, given, share).apply(drifted) for share in (1.0, strength))
    assert torch.allclose(part, torch.lerp(drifted, whole, strength), atol=1e-6)


def test_a_flat_channel_keeps_its_contrast():
    given, drawn = torch.full((4, 8, 8, 3), 0.6), torch.full((4, 8, 8, 3), 0.5)
    colors = ColorMap.between(drawn, given, 1.0)
    assert torch.equal(colors.scale, torch.ones(3))
    assert torch.allclose(colors.apply(drawn), given)


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
