"""Whether the times of frames are those of an even rate."""

import pytest
from pusa.nodes.shared.video_file import uneven


def test_an_even_rate_is_even_where_only_some_packets_have_times():
    assert not uneven([0, None, None, 3, None, 5, None, None, None, 9, 10])


@pytest.mark.parametrize("rate", [24, 30, 40, 60])
@pytest.mark.parametrize("clock", [100, 1000])
def test_rounding_to_the_clock_is_even(rate, clock):
    """GIF counts hundredths of a second, Matroska thousandths."""
    assert not uneven([round(clock * number / rate) for number in range(200)])


def test_a_variable_rate_and_a_pause_are_uneven():
    assert uneven([0, 40, 80, 150, 190]) and uneven([0, 40, 80, 2080, 2120]) and not uneven([7]) and not uneven([])
