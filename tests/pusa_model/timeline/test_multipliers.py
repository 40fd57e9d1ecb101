"""Multipliers over a socket: ComfyUI's curves and lists of numbers, in place of the `noise` text."""

import re

import pytest
import torch
from comfy_api.input import LinearCurve, MonotoneCubicCurve
from hypothesis import given
from hypothesis import strategies as st
from pusa.pusa_model.timeline import placing as timeline
from pusa.pusa_model.timeline.multipliers import condition_multipliers
from pusa.schedulers import InputError, parse_noise

TARGET = torch.zeros(1, 16, 21, 2, 2)
RISING = LinearCurve([(0.0, 0.0), (1.0, 0.5)])
HUNDREDTHS = st.integers(0, 100).map(lambda hundredths: hundredths / 100)


def test_without_a_connection_the_text_counts():
    assert condition_multipliers("0.0, 0.3", None, 2) == [0.0, 0.3]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 30))
def test_a_straight_curve_is_a_ramp(first, last, count):
    found = condition_multipliers("0.9", LinearCurve([(0.0, first), (1.0, last)]), count)
    assert found == pytest.approx(parse_noise(f"{first:.9f}..{last:.9f}", count), abs=1e-6)


@given(st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), min_size=1, max_size=8), st.integers(1, 40))
def test_a_curve_within_its_box_is_never_refused(points, count):
    found = condition_multipliers("", MonotoneCubicCurve(points), count)
    assert len(found) == count and all(0 <= value <= 1 for value in found)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_flat_curve_is_that_level_exactly(level):
    assert condition_multipliers("", MonotoneCubicCurve([(0.0, level), (0.4, level), (1.0, level)]), 13) == [level] * 13


@pytest.mark.parametrize("given, count, found", [
    ([0.0, 0.3, 1], 3, [0.0, 0.3, 1.0]), ((0.5,), 3, [0.5] * 3), (0.2, 2, [0.2, 0.2]), (1, 1, [1.0]),
])  # fmt: skip
def test_numbers_are_one_for_all_or_one_for_each(given, count, found):
    assert condition_multipliers("0.9", given, count) == found


@pytest.mark.parametrize("given, count, words", [
    ([0.1, 0.2], 3, "`multipliers` holds 2 values for 3 condition frames. Give one value for all, exactly 3, or a curve"),
    ([0.1, 0.2], 1, "`multipliers` holds 2 values for 1 condition frame."),
    ([], 2, "`multipliers` holds 0 values for 2 condition frames."),
    ([0.1, 1.2], 2, "`multipliers` is 1.2 for condition frame 2 of 2, outside 0 to 1."),
    (-1, 2, "`multipliers` is -1 for condition frame 1 of 2"),
    ([float("nan")], 2, "`multipliers` is nan for condition frame 1 of 2"),
    (LinearCurve([(0.0, 0.0), (1.0, 2.0)]), 3, "`multipliers` is 2 for condition frame 3 of 3"),
    ({"points": [[0, 0]]}, 2, "`multipliers` holds no numbers but dict. Connect a curve, a number, or a list of numbers."),
    ([[0.1], [0.2]], 2, "`multipliers` holds no numbers but list."),
    ("low", 2, "`multipliers` holds no numbers but str."),
])  # fmt: skip
def test_what_cannot_be_used_is_told(given, count, words):
    with pytest.raises(InputError, match=re.escape(words)):
        condition_multipliers("0.2", given, count)


def test_every_room_of_the_timeline_takes_them(vae):
    pictures = torch.rand(13, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        conditions = [
            timeline.keyframes(
                vae, TARGET, {"image0": pictures[:3]}, "0, 40, last", "frame", "0.9", "crop", "still", multipliers=RISING
            ),
            timeline.video_frames(vae, TARGET, pictures, "end", 9, "start", "0.9", "crop", multipliers=RISING),
            timeline.latent_frames(TARGET, torch.zeros(1, 16, 3, 2, 2), "2-4", "0.9", multipliers=RISING),
        ]
    assert [condition.multipliers for condition in conditions] == [(0.0, 0.25, 0.5)] * 3
