"""Texts that no one wrote on purpose, and those of other keyboards: answered soon, shortly, and with what was meant."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import InputError, parse_noise, parse_positions
from pusa.schedulers.grammar import LONGEST, decimal_comma, noise_values, position_terms

LONG = 100_000
ADVERSARIAL = [
    "1" * LONG + "x", "0.." + "1" * LONG + "x", "." * LONG, "," * LONG, "0," * LONG, "0, " * LONG, "0-" * LONG, "-" * LONG,
    "0" + " " * LONG + "x", "0," + " " * LONG + "x", "1e" + "1" * LONG, "0." + "0" * LONG + "1", "last-" * LONG, "0,1" * LONG,
    "\uff11" * LONG, "\u3001" * LONG, "\n" * LONG, "\ud800" * LONG, "\U0001f600" * LONG,
]  # fmt: skip


def told(read, text: str) -> tuple[float, str]:
    """Seconds of processor time that a validator takes, the least of three, and what it says: nothing of a text that it takes."""
    seconds, words = [], ""
    for _ in range(3):
        begin = process_time()
        try:
            read(text)
        except InputError as error:
            words = str(error)
        seconds.append(process_time() - begin)
    return min(seconds), words


def check_any_length(text: str) -> None:
    """Of a text as it is, and of as much of it as is still read, both validators speak soon and shortly."""
    for read in (position_terms, noise_values, decimal_comma, lambda written: parse_positions(written, 8001)):
        for part in (text, text[:LONGEST]):
            seconds, words = told(read, part)
            assert seconds < 0.1 and len(words) < 500
            words.encode("utf-8")
            assert "\n" not in words


@pytest.mark.parametrize("text", ADVERSARIAL, ids=lambda text: ascii(text[:5]))
def test_any_text_is_answered_soon_and_shortly(text):
    check_any_length(text)


@given(st.lists(st.sampled_from("0123456789+-,. lasteExX\u3001\uff0c\ud800\n\t"), min_size=1, max_size=6), st.text(max_size=3))
def test_any_pattern_repeated_is_answered_soon_and_shortly(pattern, end):
    check_any_length("".join(pattern) * (LONG // len(pattern)) + end)


@pytest.mark.parametrize("name, read", [("positions", position_terms), ("noise", noise_values)])
def test_a_text_beyond_any_use_is_told_by_its_length(name, read):
    read("0," * (LONGEST // 2 - 1) + "0")
    with pytest.raises(InputError, match=f"`{name}` is {LONGEST + 1} characters long; at most {LONGEST} are read"):
        read("0" * (LONGEST + 1))


@pytest.mark.parametrize("read", [position_terms, noise_values])
def test_only_the_beginning_of_a_part_is_quoted(read):
    with pytest.raises(InputError, match=r"`x{37}\.\.\.` in "):
        read("x" * 41)
    with pytest.raises(InputError, match=r"`x{40}` in "):
        read("x" * 40)


@pytest.mark.parametrize("text, values", [
    ("0.1\u30010.5", [0.1, 0.5]), ("0\u30021\uff0c0\u30025", [0.1, 0.5]), ("0.1\uff640.5", [0.1, 0.5]),
    ("\uff10\uff0e\uff11\uff0e\uff0e\uff10\uff0e\uff15", [0.1, 0.5]),
])  # fmt: skip
def test_commas_and_full_stops_of_chinese_and_japanese_are_read(text, values):
    assert parse_noise(text, 2) == values


@pytest.mark.parametrize("text", ["0\u30fc3", "0\u22123", "0\uff0d3", "\uff10\uff0d\uff13"])
def test_hyphens_of_chinese_and_japanese_are_read(text):
    assert parse_positions(text, 21) == [0, 1, 2, 3]


DECIMALS = {"0,1": "`0.1`", "0,2": "`0.2`", " 0,05 ": "`0.05`", "0,1, 0,5": "`0.1`", "0, 0,3": "`0.3`", "0,1..0,5": "`0.1`"}


@pytest.mark.parametrize("text", DECIMALS)
def test_a_decimal_comma_is_noticed(text):
    assert decimal_comma(text).endswith(f"is two values; one value with a decimal point is {DECIMALS[text]}.")


@pytest.mark.parametrize("text", ["0, 1", "0,1,1", "0,0", "1,0", "0.1,1", "0.0, 0.3, 0.4, 0.5", "0,x", "", "0", "0..1", "0,1, x"])
def test_a_list_is_not_taken_for_a_decimal_comma(text):
    assert decimal_comma(text) == ""


@pytest.mark.parametrize("text, count", [("0,2", 2), ("0,2", 1), ("0,1", 1), ("0,1, 0,1", 2), ("0,1..0,5", 3)])
def test_an_error_over_a_decimal_comma_names_the_decimal_point(text, count):
    with pytest.raises(InputError, match="one value with a decimal point is"):
        parse_noise(text, count)


def test_what_can_be_read_keeps_its_meaning():
    assert parse_noise("0,1", 2) == [0.0, 1.0]
