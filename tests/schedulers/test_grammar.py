"""The text grammar: whatever is written is read back, and whatever cannot be read is quoted with what is allowed."""

import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pusa.schedulers import InputError, fit_noise, parse_noise, parse_positions
from pusa.schedulers.grammar import noise_values, position_terms

spaces = st.sampled_from(["", " ", "  ", "\t", "\n"])
units = st.floats(0, 1)


@st.composite
def written_positions(draw):
    """(clip length, frames, a text that names those frames in one of its many spellings)."""
    length = draw(st.integers(1, 60))

    def index(frame):
        spellings = [str(frame), str(frame).zfill(4), str(frame - length)] + ["last"] * (frame == length - 1)
        return draw(st.sampled_from(spellings))

    def spaced(text):
        return draw(spaces) + text + draw(spaces)

    cuts = sorted(draw(st.sets(st.integers(0, length), min_size=2, max_size=12)) | {0, length})
    blocks = [list(range(a, b)) for a, b in pairwise(cuts)]
    blocks = draw(st.permutations(blocks))[: draw(st.integers(1, len(blocks)))]
    parts = []
    for block in blocks:
        if draw(st.booleans()):
            parts.append(f"{index(block[0])}{draw(spaces)}-{draw(spaces)}{index(block[-1])}")
        else:
            parts += [index(frame) for frame in block]
    return length, [frame for block in blocks for frame in block], ",".join(map(spaced, parts))


@given(written_positions())
def test_positions_are_read_back_in_the_order_written(written):
    length, frames, text = written
    assert parse_positions(text, length) == frames


@pytest.mark.parametrize(
    "text, frames",
    [
        ("0", [0]),
        ("0, 20", [0, 20]),
        ("20,0", [20, 0]),
        ("0-3", [0, 1, 2, 3]),
        ("last", [20]),
        ("-1", [20]),
        ("-21", [0]),
        ("-3--1", [18, 19, 20]),
        ("-3 - last", [18, 19, 20]),
        ("18-last, 0-1", [18, 19, 20, 0, 1]),
        ("last-last", [20]),
        ("0007", [7]),
        ("-0", [0]),
    ],
)
def test_positions_of_a_clip_of_21_frames(text, frames):
    assert parse_positions(text, 21) == frames


@given(st.integers(1, 100), st.integers(-150, 150) | st.integers(-(10**9) + 1, 10**9 - 1))
def test_a_position_is_accepted_exactly_when_it_lies_in_the_clip(length, position):
    if -length <= position < length:
        assert parse_positions(str(position), length) == [position % length]
    else:
        allowed = f"0 to {length - 1}, negatives from the end (-1 to -{length}), or `last`."
        message = f"position {position} is outside the clip. The clip, so `positions` takes {allowed}"
        with pytest.raises(InputError, match=re.escape(message)):
            parse_positions(str(position), length)


@pytest.mark.parametrize("text", ["0-21", "21-0", "0, 3-999999999", "-22-3", "0-last, 21"])
def test_a_range_that_leaves_the_clip_is_quoted_with_the_words_for_the_clip(text):
    with pytest.raises(InputError, match=r"position \S+ is outside the clip. Ours has 21, so `positions` takes 0 to 20,"):
        parse_positions(text, 21, "Ours has 21")


@pytest.mark.parametrize("text, part", [("0, 5-3", "5-3"), ("last-0", "last-0"), ("-1 - -2", "-1 - -2")])
def test_a_range_cannot_run_backwards(text, part):
    with pytest.raises(InputError, match=f"the range `{part}` in `positions` runs backwards"):
        parse_positions(text, 21)


@pytest.mark.parametrize(
    "text, frame, part", [("0, 0", 0, "0"), ("20, last", 20, "last"), ("2-4, 3", 3, "3"), ("4, 2-5", 4, "2-5")]
)
def test_a_frame_named_twice_is_quoted(text, frame, part):
    with pytest.raises(InputError, match=f"names frame {frame} twice \\(`{part}` repeats it\\)"):
        parse_positions(text, 21)


WORDS = ["x", "1.5", "1-2-3", "first", "Last", "1 2", "0x1", "1e1", "+1", "--1", "1..3"]
FOREIGN_DIGITS = ["\u0663", "\u00b2", "1\u20132"]


@pytest.mark.parametrize("part", [*WORDS, *FOREIGN_DIGITS, "9" * 10])
def test_a_part_that_is_no_position_is_quoted(part):
    with pytest.raises(InputError, match=re.escape(f"`{part}` in `positions` is not a position. Write positions as `0, 20`")):
        parse_positions(f"0, {part} ,5", 21)


@pytest.mark.parametrize("text", ["", " ", ",", "0,", ",0", "0,,1"])
def test_an_empty_part_of_positions_is_told(text):
    with pytest.raises(InputError, match="`positions` has an empty part. Write positions as"):
        parse_positions(text, 21)


texts = st.text() | st.text("0123456789-,. lasteE+\u0661\u00bd\u2007\n")


@given(texts, st.integers(1, 100))
def test_any_text_gives_frames_of_the_clip_or_an_input_error(text, length):
    try:
        frames = parse_positions(text, length)
    except InputError:
        return
    assert frames and len(set(frames)) == len(frames) and set(frames) <= set(range(length))


@given(texts, st.integers(1, 30))
def test_any_text_gives_one_multiplier_per_frame_or_an_input_error(text, count):
    try:
        multipliers = parse_noise(text, count)
    except InputError:
        return
    assert len(multipliers) == count and all(0 <= m <= 1 for m in multipliers)


@given(texts, st.integers(1, 30))
def test_a_text_refused_before_the_graph_runs_is_refused_by_the_graph(text, size):
    """`position_terms` and `noise_values` check without a clip; nothing that they refuse can be used with one."""
    for check, parse in ((position_terms, parse_positions), (noise_values, parse_noise)):
        try:
            check(text)
        except InputError:
            with pytest.raises(InputError):
                parse(text, size)


@st.composite
def written_numbers(draw):
    """(a number in [0, 1], one of its spellings, with spaces around)."""
    value = draw(units)
    spelling = draw(st.sampled_from(["{!r}", "+{!r}", "{:.17e}", "{:.17E}", "0{!r}"])).format(value)
    spelling = spelling[1:] if spelling.startswith("0.") and draw(st.booleans()) else spelling
    return value, draw(spaces) + spelling + draw(spaces)


@given(st.lists(written_numbers(), min_size=1, max_size=12))
def test_a_list_of_multipliers_is_read_back(written):
    values, spellings = zip(*written)
    assert parse_noise(",".join(spellings), len(values)) == list(values)


@given(written_numbers(), st.integers(1, 50))
def test_one_multiplier_serves_every_frame(written, count):
    value, text = written
    assert parse_noise(text, count) == [value] * count


@given(written_numbers(), written_numbers(), st.integers(2, 50))
def test_a_ramp_reaches_both_ends_exactly_and_never_turns(first, last, count):
    (a, first_text), (b, last_text) = first, last
    ramp = parse_noise(f"{first_text}..{last_text}", count)
    assert len(ramp) == count and (ramp[0], ramp[-1]) == (a, b)
    assert all(min(a, b) <= m <= max(a, b) for m in ramp)
    assert ramp == sorted(ramp, reverse=a > b)


@given(units, st.integers(1, 200))
def test_a_ramp_between_equal_ends_is_constant(value, count):
    """Exactly: 1..1 must leave every frame free, not almost free."""
    assert parse_noise(f"{value!r}..{value!r}", count) == [value] * count


@given(written_numbers(), written_numbers())
def test_a_ramp_over_one_frame_is_its_first_end(first, last):
    assert parse_noise(f"{first[1]}..{last[1]}", 1) == [first[0]]


def test_a_ramp_is_linear():
    assert parse_noise("0.0..0.5", 6) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert parse_noise("1..0", 3) == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("part", ["1.0001", "2", "-0.1", "1e9", "1e999", "-1e999", "9" * 40])
def test_a_multiplier_outside_its_range_is_quoted(part):
    for text in (part, f"0.5, {part}", f"{part}..0", f"0 .. {part}"):
        with pytest.raises(InputError, match=re.escape(f"the noise multiplier {part} is outside 0 to 1")):
            parse_noise(text, 2)


NOT_NUMBERS = ["x", "nan", "inf", "0.5f", "1_0", "0x1p-1", ".", "e1", "--1", "\u0660.\u0665", "\u00bd", "50%", "0 .5"]


@pytest.mark.parametrize("part", NOT_NUMBERS)
def test_a_part_that_is_no_number_is_quoted(part):
    for text in (part, f"0.5, {part} ", f"0..{part}"):
        with pytest.raises(InputError, match=re.escape(f"`{part}` in `noise` is not a number. Write noise as one value `0.2`")):
            parse_noise(text, 2)


@pytest.mark.parametrize("text", ["", " ", ",", "0.5,", ",0.5", "0,,1"])
def test_an_empty_part_of_noise_is_told(text):
    with pytest.raises(InputError, match="`noise` has an empty part. Write noise as"):
        parse_noise(text, 2)


@pytest.mark.parametrize("text", ["..", "0..", "..1", "0..1..0", "0, 0.1..0.2"])
def test_a_broken_ramp_is_refused(text):
    with pytest.raises(InputError, match="in `noise` is not a number|`noise` has an empty part"):
        parse_noise(text, 3)


@given(st.lists(units, min_size=2, max_size=8), st.integers(1, 8))
def test_a_list_of_another_length_is_refused_with_the_number_needed(values, count):
    assume(len(values) != count)
    message = f"lists {len(values)} values for {count} condition frames?. Give one value for all, exactly {count}, or a ramp"
    with pytest.raises(InputError, match=message):
        parse_noise(", ".join(map(repr, values)), count)


@pytest.mark.parametrize(
    "text, count, expected",
    [
        ("0.2", 3, [0.2, 0.2, 0.2]),
        ("0.0, 0.3, 0.4, 0.5", 4, [0.0, 0.3, 0.4, 0.5]),
        ("0.0, 0.3, 0.4, 0.5", 7, [0.0, 0.15, 0.3, 0.35, 0.4, 0.45, 0.5]),
        ("0.0, 0.3, 0.4, 0.5", 2, [0.0, 0.5]),
        ("0.0, 0.3, 0.4, 0.5", 1, [0.0]),
        ("0.1..0.5", 5, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_a_list_is_fitted_to_any_number(text, count, expected):
    assert fit_noise(text, count) == pytest.approx(expected)


def test_a_fitted_list_is_checked_too():
    with pytest.raises(InputError, match="1.5 is outside 0 to 1"):
        fit_noise("0, 1.5", 3)


def full_width(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each.replace(" ", "\u3000") for each in text)


@given(written_positions())
def test_positions_from_a_full_width_keyboard_are_the_same(written):
    length, frames, text = written
    assert parse_positions(full_width(text), length) == frames


@given(st.lists(written_numbers(), min_size=1, max_size=6))
def test_noise_from_a_full_width_keyboard_is_the_same(written):
    values, spellings = zip(*written)
    assert parse_noise(full_width(",".join(spellings)), len(values)) == list(values)
