"""A few seeded items of every check of `bench reliability`: nothing crashes, is wrong in silence or is lost."""

import subprocess
import sys

import host_comfyui
import pytest

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.reliability.__main__ import ROWS, chosen, page, written  # noqa: E402
from benchmarks.reliability.material.judge import wrong_result  # noqa: E402
from benchmarks.reliability.tally import Tally  # noqa: E402

LATENT = {"samples": {"shape": [1, 16, 3, 4, 4], "finite": True}}
GRAPH = {
    "sampler": {"class_type": "PusaKSampler", "inputs": {"latent_image": ["empty", 0]}},
    "given": {"class_type": "ReliabilityProbe", "inputs": {"value": ["empty", 0]}},
    "made": {"class_type": "ReliabilityProbe", "inputs": {"value": ["sampler", 0]}},
}


def bench(*arguments):
    command = [sys.executable, str(host_comfyui.ROOT / "dev.py"), "bench", "reliability", "--", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=host_comfyui.ROOT, timeout=600)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and forks")
def test_a_few_items_of_every_check_find_nothing():
    done = bench("--quick", "--seed", "1")
    rows = written(done.stdout)
    assert done.returncode == 0 and rows.keys() == {(row.letter, row.name) for row in ROWS}, done.stdout + done.stderr
    assert all(int(cells[2]) >= row.quick and cells[3:6] == ["0", "0", "0"] for cells, row in zip(rows.values(), ROWS))
    assert str(host_comfyui.ROOT) not in done.stdout


def test_a_wrong_check_is_told_the_right_ones():
    done = bench("--only", "z")
    assert done.returncode == 1 and "There is no check z; there are a, a/inputs, b, b/LoRA files" in done.stderr


@pytest.mark.parametrize("only, count", [(["a"], 1), (["b"], 4), (["c/Merge LoRA", "d"], 2), (None, len(ROWS))])
def test_checks_are_chosen_by_letter_or_name(only, count):
    assert len(chosen(only)) == count


def test_a_row_takes_the_place_of_its_older_one_and_leaves_the_others():
    rows = [Tally("a", "inputs", 0, tried=1), Tally("d", "mixed graphs", 0, tried=2)]
    older = written(page({(row.letter, row.name): row.row for row in rows}, "*here*"))
    newer = written(page(older | {("a", "inputs"): Tally("a", "inputs", 0, tried=3).row}, "*here*"))
    assert [cells[2] for cells in newer.values()] == ["3", "2"]


def test_a_fault_is_counted_once_an_item_and_printed_with_what_has_it_again(capsys):
    tally = Tally("a", "inputs", 7, tried=9)
    for words in ("first", "second"):
        tally.fault("silent", 4, words, {"n0": {}})
    assert tally.row[2:6] == ["9", "0", "1", "0"] and not tally.kept
    assert "--only 'a/inputs' --seed 7 --number 4" in capsys.readouterr().err


def test_an_item_is_the_same_whatever_came_before_it():
    first, other = Tally("a", "inputs", 0), Tally("a", "inputs", 1)
    assert first.random(3).random() == first.random(3).random() != other.random(3).random()


@pytest.mark.parametrize(
    "made, words",
    [
        (LATENT, ""),
        ({"samples": LATENT["samples"] | {"finite": False}}, "not finite"),
        ({"samples": LATENT["samples"] | {"shape": [1, 16, 2, 4, 4]}}, "[1, 16, 2, 4, 4] where [1, 16, 3, 4, 4] is asked for"),
    ],
)
def test_a_result_is_judged_by_what_was_asked(made, words):
    found = wrong_result(GRAPH, "sampler", {"given": LATENT, "made": made})
    assert words in found and bool(words) == bool(found)
