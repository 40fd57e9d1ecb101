"""Calls beside each other: they take turns, and what is told about them is what they did."""

import sys
import time

import host_comfyui
import pytest
import torch

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.measure.products import Part  # noqa: E402
from benchmarks.measure.report import Limit, Table, fine_cells, memory_cells, time_cells  # noqa: E402
from benchmarks.measure.side_by_side import Times, interleaved, uncertainty  # noqa: E402

MEBIBYTE = 2**20


def test_every_round_begins_with_another_call_and_undoes_each():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = interleaved(calls, lambda: order.append("-"), least=4, most=4)
    assert "".join(order) == "a-b-c-" + "a-b-c-" + "b-c-a-" + "c-a-b-" + "a-b-c-", "one round to warm up and four that count"
    assert {len(seconds) for seconds in times.seconds.values()} == {4}


def test_rounds_go_on_until_the_ratios_agree():
    assert Times({"base": [1.0, 2.0, 1.5], "other": [1.1, 2.2, 1.65]}).settled(), "the machine changed, the ratio did not"
    assert not Times({"base": [1.0, 1.0, 1.0], "other": [1.0, 1.1, 1.2]}).settled()
    uneven = iter([0.0, 0.02, 0.01, 0.04] * 9)
    restless = interleaved({"a": lambda: None, "b": lambda: time.sleep(next(uneven))}, least=5, most=12)
    assert len(restless.seconds["a"]) == 12


def test_ratios_are_of_medians_and_of_rounds():
    times = Times({"base": [1.0, 2.0, 4.0], "other": [3.0, 2.0, 4.0]})
    assert times.ratio("other") == 1.5 and times.rounds("other") == [3.0, 1.0, 1.0]
    assert times.rounds("base") == [1.0] * 3 and times.ratio("base", "other") == pytest.approx(2 / 3)
    assert times.typical("other") == (1.0, uncertainty([3.0, 1.0, 1.0]))


def test_products_that_both_do_alike_do_not_count():
    small, large = ("aten::mm", "[[1, 1], [1, 1]]"), ("aten::mm", "[[9, 9], [9, 9]]")
    base = [{large: Part(2, seconds)} for seconds in (8.0, 6.0, 9.0)]
    other = [{large: Part(2, seconds), small: Part(1, 0.5)} for seconds in (7.0, 9.0, 6.0)]
    times = Times({"base": [9.0, 7.0, 10.0], "other": [8.9, 10.9, 7.9]}, {"base": base, "other": other})
    assert times.by_rest("other") == pytest.approx([1.1] * 3), "0.9 s more of 9 s; half a second of it in a product of its own"
    assert times.judged("other") == pytest.approx((1.1, 0)) and times.typical("other")[1] > 0.1
    nothing_alike = Times(times.seconds, {"base": base, "other": [{large: Part(1, 3.0)}] * 3})
    assert nothing_alike.by_rest("other")[0] == pytest.approx(1 - 0.1 / 9)
    assert fine_cells(times, "other")[-1] == "1.1000 +- 0.0000" and fine_cells(Times(times.seconds), "other")[-1] == ""


def test_products_are_recorded_in_real_calls():
    weight, extra = torch.rand(512, 512), torch.rand(512, 512)
    calls = {"product": lambda: weight @ weight, "and more": lambda: (weight @ weight, extra.exp(), time.sleep(0.02))}
    times = interleaved(calls, least=9, most=9, products=True)
    assert all(list(found) == [("aten::mm", "[[512, 512], [512, 512]]")] for name in calls for found in times.products[name])
    added = (times.judged("and more")[0] - 1) * times.median("product")
    assert 0.015 < added < 0.06


def test_a_call_of_twice_the_time_is_told_as_that():
    times = interleaved({"one": lambda: time.sleep(0.05), "two": lambda: time.sleep(0.1)}, least=5, most=5)
    assert times.ratio("two") == pytest.approx(2, rel=0.25)


def test_the_uncertainty_falls_with_the_number_of_rounds():
    assert uncertainty([1.0] * 9) == 0
    assert uncertainty([0.9, 1.0, 1.1] * 12) < uncertainty([0.9, 1.0, 1.1] * 3) / 1.9


def test_a_table_says_what_was_measured_and_whether_it_is_within_its_limits():
    times, memory = Times({"a": [1.0, 1.0, 1.0], "b": [1.1, 1.1, 1.1]}), {"a": 10 * MEBIBYTE, "b": None}
    rows = [[name, *time_cells(times, name), *memory_cells(memory, name)] for name in "ab"]
    limits = Limit("b to a", 1.1, 1.05), Limit("a", 1, 1), Limit("c", 0.9, 1, doubt=0.3), Limit("d", 0.99, 1, doubt=0.003)
    text = str(Table("Title", ["", "time", "ratio", "rounds", "peak", "ratio"], rows, limits))
    assert "| b | 1.1 s | 1.100 | 1.100 (1.100 to 1.100), 3 | not measured |  |" in text
    assert "| a | 1 s | 1.000 | 1.000 (1.000 to 1.000), 3 | 10 MiB | 1.000 |" in text
    assert "b to a: 1.1, at most 1.05: **NO**." in text and "a: 1, at most 1: **yes**." in text
    assert "c: 0.9 +- 0.3, at most 1: **undecided" in text and "d: 0.99 +- 0.003, at most 1: **yes**." in text
    assert [limit.kept for limit in limits] == [False, True, False, True]
