"""Noise levels per frame: the multiplier vector, the levels of one step, and the table of all steps."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import flow_match_sigmas, frame_levels, multiplier_vector
from pusa.schedulers.level_table import scaled

units = st.floats(0, 1, width=32)
vectors = st.lists(units, min_size=1, max_size=30).map(torch.tensor)


@given(st.integers(1, 50), st.data())
def test_conditions_take_their_multiplier_and_every_other_frame_is_free(length, data):
    positions = data.draw(st.lists(st.integers(0, length - 1), unique=True))
    multipliers = data.draw(st.lists(units, min_size=len(positions), max_size=len(positions)))
    m = multiplier_vector(length, positions, multipliers)
    given_by = dict(zip(positions, multipliers))
    assert m.dtype == torch.float32
    assert m.tolist() == [given_by.get(frame, 1.0) for frame in range(length)]


@given(vectors, st.lists(units, min_size=1, max_size=4))
def test_a_level_is_multiplier_times_sigma(m, sigmas):
    levels = frame_levels(torch.tensor(sigmas), m)
    assert levels.shape == (len(sigmas), 1, len(m), 1, 1)
    for b, sigma in enumerate(sigmas):
        assert torch.equal(levels[b, 0, :, 0, 0], m * sigma)


@given(vectors, units)
def test_sigma_may_come_in_any_shape_that_samplers_use(m, sigma):
    """A scalar, one per batch row, or reshaped for a video latent."""
    scalar = frame_levels(torch.tensor(sigma), m)
    for shape in ((1,), (1, 1, 1, 1, 1)):
        assert torch.equal(frame_levels(torch.tensor(sigma).reshape(shape), m), scalar)


@given(vectors.map(torch.round), units)
def test_free_frames_keep_sigma_exactly_and_clean_frames_are_exactly_zero(m, sigma):
    levels = frame_levels(torch.tensor(sigma), m).flatten().tolist()
    assert levels == [sigma if free else 0.0 for free in m]


@given(vectors, st.integers(1, 40))
def test_the_table_is_the_levels_of_every_step(m, steps):
    sigmas = flow_match_sigmas(steps)
    table = scaled(sigmas, m).levels
    assert table.shape == (steps + 1, len(m))
    for k, sigma in enumerate(sigmas):
        assert torch.equal(table[k], frame_levels(sigma, m).flatten())


@given(vectors, st.integers(1, 40))
def test_no_frame_ever_rises_and_all_end_clean(m, steps):
    table = scaled(flow_match_sigmas(steps), m).levels
    assert (table.diff(dim=0) <= 0).all()
    assert (table[-1] == 0).all()
    assert torch.equal(table[0], m)
