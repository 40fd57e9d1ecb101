"""Frames of one rate as frames of another: how many there are, and when each is shown."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import InputError, Resampling

RATES = st.sampled_from([Fraction(8), Fraction(16), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)])
METHODS = st.sampled_from(["nearest", "blend"])


def clock(times):
    """Frames whose value is the time at which they are shown."""
    return torch.tensor([float(time) for time in times], dtype=torch.float64)[:, None, None, None]


def test_keep_takes_frame_for_frame():
    resampling, frames = Resampling(Fraction(24)), torch.rand(9, 1, 2, 3)
    assert resampling.clip_steps(8) == 8 and resampling.steps_needed(8) == 8
    assert torch.equal(resampling.to_model(frames, 9), frames)
    assert torch.equal(resampling.to_clip(frames, 40, 48), frames[1:])


@given(RATES, METHODS, st.integers(1, 40), st.integers(1, 12))
def test_hops_give_every_frame_once_and_at_its_time(rate, method, steps, hops):
    resampling = Resampling(rate, method)
    shown = []
    for hop in range(hops):
        frames = clock(Fraction(hop * steps + step, 16) for step in range(steps + 1))
        shown.append(resampling.to_clip(frames, hop * steps, (hop + 1) * steps).flatten())
    shown = torch.cat(shown)
    wanted = clock(Fraction(step, 1) / rate for step in range(1, resampling.clip_steps(hops * steps) + 1)).flatten()
    assert len(shown) == len(wanted)
    within = 1 / 32 if method == "nearest" else 0
    assert (shown - wanted).abs().max().item() <= within + 1e-9 if len(wanted) else True


@given(RATES, METHODS, st.integers(1, 40))
def test_the_model_sees_frames_a_sixteenth_of_a_second_apart(rate, method, count):
    resampling = Resampling(rate, method)
    frames = clock(step / rate for step in range(resampling.steps_needed(count - 1) + 1))
    wanted = clock(Fraction(step, 16) for step in range(count)).flatten()
    within = float(1 / rate) / 2 if method == "nearest" else 0
    assert (resampling.to_model(frames, count).flatten() - wanted).abs().max() <= within + 1e-9


@given(RATES, METHODS, st.integers(1, 40))
def test_frames_between_two_are_evenly_spread(rate, method, steps):
    """The time between is stretched to a whole number of frames, by half of one at most."""
    resampling = Resampling(rate, method)
    shown = resampling.between(clock(Fraction(step, 16) for step in range(steps + 1))).flatten()
    span = resampling.clip_span(steps)
    assert len(shown) == span - 1 and (span == 1 or abs(span / rate - Fraction(steps, 16)) <= 1 / rate / 2)
    wanted = clock(Fraction(steps * step, 16 * span) for step in range(1, span)).flatten()
    within = 1 / 32 if method == "nearest" else 0
    assert torch.allclose(shown, wanted, rtol=0, atol=within + 1e-9)


def test_frames_between_two_are_those_of_the_model_at_its_own_rate():
    frames = torch.rand(9, 1, 2, 3)
    for resampling in (Resampling(Fraction(24)), Resampling(Fraction(16), "blend"), Resampling(Fraction(16), "nearest")):
        assert torch.equal(resampling.between(frames), frames[1:-1])


def test_the_frame_where_both_meet_is_the_same_bits():
    frames = torch.rand(30, 1, 2, 3)
    for method in ("nearest", "blend"):
        assert torch.equal(Resampling(Fraction(24), method).to_model(frames, 13)[0], frames[0])


@pytest.mark.parametrize("rate, method, words", [(0, "keep", "frame rate is 0"), (24, "cubic", "use keep, nearest, blend")])
def test_what_is_no_resampling_is_refused(rate, method, words):
    with pytest.raises(InputError, match=words):
        Resampling(Fraction(rate), method)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
def test_a_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(InputError, match=f"the frame rate is {rate:g}; it must be a number above 0"):
        Resampling(rate)
