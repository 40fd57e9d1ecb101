"""Tables of levels: the builders against the rows that the contract lists, and what a table refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pusa.schedulers import InputError
from pusa.schedulers.flow_match import flow_match_sigmas
from pusa.schedulers.level_table import (
    ORDERS,
    LevelTable,
    Recipe,
    block_numbers,
    delayed,
    hold,
    lag_of_window,
    scaled,
    with_windows,
)

GRID = torch.tensor([1.0, 0.9375, 0.8333, 0.625, 0.0])
# Step indices by row for K = 4: 0 is noise or waiting, 4 clean, C given.
LISTED = {
    "lag 1": (dict(lag=1), "1111", "0000 1000 2100 3210 4321 4432 4443 4444"),
    "lag 2": (dict(lag=2), "111", "000 100 200 310 420 431 442 443 444"),
    "blocks": (dict(lag=2, block=2), "11111", "00000 11000 22000 33110 44220 44331 44442 44443 44444"),
    "center": (dict(lag=1, order="center"), "11111", "00000 00100 01210 12321 23432 34443 44444"),
    "given": (dict(lag=1), "0111", "C000 C100 C210 C321 C432 C443 C444"),
    "block after block": (dict(lag=4), "11", "00 10 20 30 40 41 42 43 44"),
    "more lag than steps": (dict(lag=9), "11", "00 10 20 30 40 41 42 43 44"),
    "no lag": (dict(lag=0), "111", "000 111 222 333 444"),
    "end given": (dict(lag=1), "110", "00C 10C 21C 32C 43C 44C"),
    "backward, end given": (dict(lag=1, order="backward"), "110", "00C 01C 12C 23C 34C 44C"),
    "block given in part": (dict(lag=2, block=2), "0111", "C000 C100 C200 C311 C422 C433 C444"),
}


@pytest.mark.parametrize("name", LISTED)
def test_rows_are_those_listed(name):
    settings, clean, rows = LISTED[name]
    multipliers = torch.tensor([float(mark) for mark in clean])
    table = delayed(GRID, multipliers, **settings)
    expected = [[0.0 if mark == "C" else float(GRID[int(mark)]) for mark in row] for row in rows.split()]
    assert torch.equal(table.levels, torch.tensor(expected))
    even = 1 - torch.arange(table.rows + 1) / table.rows
    assert torch.equal(table.clock, GRID if table.rows == 4 else even)


def test_levels_of_a_frame_with_a_multiplier():
    m = torch.tensor([0.7])
    assert torch.allclose(scaled(GRID, m).levels[:, 0], torch.tensor([0.7, 0.65625, 0.58331, 0.4375, 0]))
    assert torch.equal(hold(GRID, m).levels[:, 0], torch.tensor([0.7, 0.7, 0.7, 0.625, 0]))
    assert torch.equal(delayed(GRID, torch.tensor([1, 0.5]), 1).levels[:, 1], 0.5 * GRID[[0, 0, 1, 2, 3, 4]])


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 12), st.integers(1, 9), st.integers(0, 12), st.integers(1, 12), st.sampled_from(ORDERS), st.data(),
)  # fmt: skip
def test_every_frame_goes_through_the_whole_grid(frames, steps, lag, block, order, data):
    """Whatever the order: from the first level to the last, each of the grid's levels, frames of a block alike."""
    grid, block = flow_match_sigmas(steps), min(block, frames)
    m = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=frames, max_size=frames)))
    table = delayed(grid, m, lag, block, order)
    assert torch.equal(table.levels[0], m * grid[0]) and torch.equal(table.levels[-1], m * grid[-1])
    numbers = block_numbers(frames, block, order)
    assert numbers.min() == 0 and set(numbers.tolist()) == set(range(int(numbers.max()) + 1))
    for frame in range(frames):
        assert set(table.levels[:, frame].tolist()) == set((m[frame] * grid).tolist())
        same = (numbers == numbers[frame]) & (m == m[frame])
        assert (table.levels[:, same] == table.levels[:, [frame]]).all()


def test_a_level_of_the_clock_is_read_between_rows():
    table = delayed(GRID, torch.ones(3), lag=1)
    for row, level in enumerate(table.clock.tolist()):
        assert table.row(level) == (row, 0.0) == table.row(level + 4e-7)
        assert torch.equal(table.at(level), table.levels[row])
    middle = float(table.clock[2] + table.clock[3]) / 2
    row, part = table.row(middle)
    assert row == 2 and part == pytest.approx(0.5, abs=1e-5)
    assert torch.allclose(table.at(middle), (table.levels[2] + table.levels[3]) / 2)
    assert torch.equal(table.at(2.0), table.levels[0]) and torch.equal(table.at(-1.0), table.levels[-1])


def test_which_frames_are_a_share_of_the_clock():
    m = torch.tensor([0.0, 0.3, 1.0])
    assert scaled(GRID, m).is_scaled().all()
    assert hold(GRID, m).is_scaled().tolist() == [True, False, True]
    assert delayed(GRID, m, 2).is_scaled().tolist() == [True, False, False]
    assert delayed(GRID, m, 0).is_scaled().all()


def test_windows_follow_the_frames_that_move():
    table = with_windows(delayed(flow_match_sigmas(3), torch.ones(5), lag=1), 3)
    assert table.windows == ((0, 3), (0, 3), (0, 3), (1, 4), (2, 5), (2, 5), (2, 5))
    whole = with_windows(delayed(GRID, torch.ones(4), lag=2), 9)
    assert set(whole.windows) == {(0, 4)}
    with pytest.raises(InputError, match="latent frame 0 moves in row 0 outside"):
        with_windows(delayed(GRID, torch.ones(5), lag=0), 3)


@pytest.mark.parametrize("steps, window, block", [(10, 21, 1), (10, 9, 1), (4, 3, 1), (10, 9, 3), (5, 7, 2)])
def test_the_lag_of_a_window_is_the_smallest(steps, window, block):
    lag, grid = lag_of_window(steps, window, block), flow_match_sigmas(steps)
    frames = torch.ones(4 * window)
    assert with_windows(delayed(grid, frames, lag, block), window).windows
    if lag > 1:
        with pytest.raises(InputError, match="outside of its window"):
            with_windows(delayed(grid, frames, lag - 1, block), window)


BAD = {
    "not falling": (lambda: LevelTable(torch.tensor([1.0, 1.0, 0.0]), torch.zeros(3, 2)), "does not fall"),
    "outside": (lambda: LevelTable(GRID, torch.full((5, 2), 1.5)), "outside 0 to 1"),
    "clock outside": (lambda: scaled(GRID * 2, torch.ones(2)), "go.* from 2 to 0"),
    "not finite": (lambda: scaled(torch.tensor([1.0, float("nan")]), torch.ones(2)), "not finite"),
    "rising": (lambda: LevelTable(GRID, torch.arange(5)[:, None] / 5), "latent frame 0 rises in row 0"),
    "one value": (lambda: Recipe("hold", grid=(1.0,)).table(torch.ones(2)), "has 1 values"),
    "unequal": (lambda: LevelTable(GRID, torch.zeros(4, 2)), "are needed"),
    "too many windows": (lambda: LevelTable(GRID, torch.zeros(5, 2), ((0, 2),)), "has 1 windows"),
    "an odd window": (lambda: LevelTable(GRID, torch.zeros(5, 2), ((0, 3),) * 4), "0 to 3"),
    "negative lag": (lambda: delayed(GRID, torch.ones(2), -1), "`lag` is -1"),
    "a long block": (lambda: delayed(GRID, torch.ones(2), 1, 3), "it is 1 to 2"),
    "another order": (lambda: delayed(GRID, torch.ones(2), 1, 1, "upward"), "no order `upward`"),
    "another kind": (lambda: Recipe("quick").table(torch.ones(2)), "no kind `quick`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_sentences(name):
    make, words = BAD[name]
    with pytest.raises(InputError, match=words):
        make()
