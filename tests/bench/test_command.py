"""dev.py bench: one measurement by its name, or all of them."""

import os
import subprocess
import sys
from functools import partial

import host_comfyui
import pytest

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.__main__ import HEAD, NAMES  # noqa: E402
from benchmarks.measure.report import hardware, with_part  # noqa: E402
from devtools.commands import measurements  # noqa: E402


def bench(*arguments):
    command = [sys.executable, str(host_comfyui.ROOT / "dev.py"), "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=host_comfyui.ROOT, timeout=120)


def test_all_that_go_into_the_results_are_measurements():
    assert set(NAMES) < set(measurements())
    assert not {"report", "side_by_side", "networks", "counting"} & set(measurements())


def test_a_wrong_name_is_told_the_right_ones():
    result = bench("side_by_side")
    assert result.returncode == 1 and "There is no measurement side_by_side" in result.stderr
    assert all(name in result.stderr for name in NAMES)


def test_a_mistyped_option_is_told_before_anything_is_measured():
    result = bench("--", "--ony", "runs")
    assert result.returncode == 2 and "unrecognized arguments: --ony" in result.stderr and "--only" in result.stderr
    assert "..." not in result.stderr.split("unrecognized")[1] and not result.stdout


@pytest.mark.parametrize("name", sorted({*measurements()} - {*NAMES}))
def test_a_measurement_of_its_own_starts_where_nothing_is_imported_yet(name):
    result = bench(name, "--", "--help")
    assert result.returncode == 0 and f"dev.py bench {name}" in result.stdout, result.stderr


def test_less_than_one_clip_a_row_is_refused():
    result = bench("quality", "--", "--clips", "0")
    assert result.returncode == 2 and "--clips: '0' is not a whole number from 1" in result.stderr


def test_one_of_all_measurements_is_run_with_the_options_of_each():
    result = bench("--", "--only", "timesteps", "--quick", "--rounds", "2", "--layers", "2")
    assert "## One model call" in result.stdout and "2 blocks" in result.stdout and "## A whole run" not in result.stdout


def test_one_measurement_prints_its_tables():
    result = bench("timesteps", "--", "--quick", "--rounds", "2")
    assert result.returncode in (0, 1), result.stderr  # the figures of so small a network mean nothing
    assert "## One model call: a vector against one number" in result.stdout and "diffusers" in result.stdout
    assert str(host_comfyui.ROOT) not in result.stdout


def test_a_measurement_takes_the_place_of_its_older_tables_and_leaves_the_others():
    put = partial(with_part, head=HEAD, names=NAMES)
    one = put("", "runs", "## Runs\n\nolder\n")
    both = put(put(one, "timesteps", "## Call"), "runs", "## Runs\n\nnewer\n")
    assert one == f"{HEAD}\n\n<!-- runs -->\n\n## Runs\n\nolder\n"
    assert both == f"{HEAD}\n\n<!-- timesteps -->\n\n## Call\n\n<!-- runs -->\n\n## Runs\n\nnewer\n"
    assert put(both, "runs", "## Runs\n\nnewer") == both


def test_hardware_is_told_without_names_of_machines_and_places():
    told = hardware()
    assert "ComfyUI" in told and "PyTorch" in told
    assert os.uname().nodename not in told and str(host_comfyui.ROOT.parent) not in told
