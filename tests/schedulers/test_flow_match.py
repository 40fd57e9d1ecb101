"""The sigma grid against the official values and its closed form, and the step at which the experts change."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import InputError, expert_switch, flow_match_sigmas

# Timesteps 1000 sigma of the official pipelines at shift 5, by number of steps.
OFFICIAL = {
    4: "1000 937.5 833.3 625.0",
    6: "1000 961.5 909.1 833.3 714.3 500.0",
    8: "1000 972.2 937.5 892.9 833.3 750.0 625.0 416.7",
    10: "1000 978.3 952.4 921.1 882.4 833.3 769.2 681.8 555.6 357.1",
    20: "1000 989.6 978.3 965.9 952.4 937.5 921.1 902.8 882.4 859.4 833.3 803.6 769.2 729.2 681.8 625.0 555.6 468.8 357.1 208.3",
    30: "1000 993.2 985.9 978.3 970.1 961.5 952.4 942.6 932.2 921.1 909.1 896.2 882.4 867.3 851.1 833.3 814.0 792.7 "
    "769.2 743.2 714.3 681.8 645.2 603.4 555.6 500.0 434.8 357.1 263.2 147.1",
}
OFFICIAL_HIGH_STEPS = {4: 2, 6: 3, 8: 4, 10: 5, 20: 9, 30: 13}

steps = st.integers(1, 2000)
shifts = st.floats(0.01, 100)
denoises = st.floats(0.01, 1)
falling = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40).map(lambda levels: sorted(levels, reverse=True) + [0.0])


@pytest.mark.parametrize("count", OFFICIAL)
def test_the_grid_is_the_official_table(count):
    timesteps = (1000 * flow_match_sigmas(count).double()).tolist()
    assert [round(t, 1) for t in timesteps] == [float(t) for t in OFFICIAL[count].split()] + [0.0]


@given(steps, shifts, denoises)
def test_every_level_is_the_closed_form(count, shift, denoise):
    u = [denoise * (count - k) / count for k in range(count + 1)]
    exact = torch.tensor([shift * x / (1 + (shift - 1) * x) for x in u], dtype=torch.float64)
    torch.testing.assert_close(flow_match_sigmas(count, shift, denoise).double(), exact, rtol=2e-7, atol=0)


@given(steps, shifts, denoises)
def test_levels_fall_strictly_to_exactly_zero(count, shift, denoise):
    sigmas = flow_match_sigmas(count, shift, denoise)
    assert sigmas.shape == (count + 1,) and sigmas.dtype == torch.float32
    assert (sigmas[1:] < sigmas[:-1]).all()
    assert sigmas[-1] == 0


@given(steps, shifts)
def test_a_full_run_starts_at_exactly_one(count, shift):
    assert flow_match_sigmas(count, shift)[0] == 1


@given(steps, denoises)
def test_shift_one_leaves_the_grid_even(count, denoise):
    even = torch.linspace(denoise, 0, count + 1, dtype=torch.float64)
    torch.testing.assert_close(flow_match_sigmas(count, 1.0, denoise).double(), even, rtol=0, atol=1e-7)


@given(steps, st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.01, 1))
def test_shifts_multiply(count, first, second, denoise):
    """Shifting shifted levels is one shift by the product, because shift scales sigma / (1 - sigma)."""
    sigmas = flow_match_sigmas(count, first, denoise).double()
    again = second * sigmas / (1 + (second - 1) * sigmas)
    torch.testing.assert_close(flow_match_sigmas(count, first * second, denoise).double(), again, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 500), st.integers(2, 4), shifts)
def test_denoise_is_the_tail_of_a_longer_grid(count, times, shift):
    whole = flow_match_sigmas(count * times, shift)
    torch.testing.assert_close(flow_match_sigmas(count, shift, 1 / times), whole[-count - 1 :], rtol=2e-7, atol=0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "`steps` is 0; it must be 1 or more"),
        ((-3,), "`steps` is -3"),
        ((10, 0.0), "`shift` is 0.0; it must be above 0"),
        ((10, -1.0), "`shift` is -1.0"),
        ((10, float("nan")), "`shift` is nan"),
        ((10, float("inf")), "`shift` is inf"),
        ((10, 5.0, 0.0), "`denoise` is 0.0; it must be above 0 and at most 1"),
        ((10, 5.0, 1.01), "`denoise` is 1.01"),
        ((10, 5.0, float("nan")), "`denoise` is nan"),
    ],
)
def test_numbers_out_of_range_are_named_with_what_is_allowed(arguments, message):
    with pytest.raises(InputError, match=message):
        flow_match_sigmas(*arguments)


@pytest.mark.parametrize("count, high", OFFICIAL_HIGH_STEPS.items())
def test_the_experts_change_at_the_official_step(count, high):
    assert expert_switch(flow_match_sigmas(count), 0.875) == high


@given(falling, st.floats(0, 1, width=32))
def test_the_low_expert_takes_every_step_strictly_below_the_boundary(levels, boundary):
    switch = expert_switch(torch.tensor(levels), boundary)
    assert all(level >= boundary for level in levels[:switch])
    assert all(level < boundary for level in levels[switch:-1])


@given(falling, st.data())
def test_a_level_on_the_boundary_stays_with_the_high_expert(levels, data):
    step = data.draw(st.integers(0, len(levels) - 2))
    assert expert_switch(torch.tensor(levels), levels[step]) > step


@given(falling, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_boundary_never_gives_the_high_expert_more_steps(levels, one, other):
    sigmas = torch.tensor(levels)
    low, high = sorted((one, other))
    assert expert_switch(sigmas, high) <= expert_switch(sigmas, low)


def test_boundary_zero_leaves_all_steps_to_the_high_expert():
    assert expert_switch(flow_match_sigmas(10), 0.0) == 10


@pytest.mark.parametrize("boundary", [-0.1, 1.1, float("nan")])
def test_a_boundary_outside_the_levels_is_refused(boundary):
    with pytest.raises(InputError, match=f"`boundary` is {boundary}; it must be between 0 and 1"):
        expert_switch(flow_match_sigmas(10), boundary)
