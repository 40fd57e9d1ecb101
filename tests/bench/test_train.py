"""What `bench train` tells apart: the parts of a step, and the halves of stage 1."""

import sys
import time

import host_comfyui
import pytest
import torch

host_comfyui.load_pack()
sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.train import bits, memory, stage1, steps  # noqa: E402


def test_the_parts_of_a_step_are_less_than_all_of_it(tmp_path):
    steps.make_store(tmp_path)
    found = steps.run(tmp_path, steps.embedded(), 1, steps.FIRST + 2)
    assert len(found) == 2
    for step in found:
        assert step.keys() == {*steps.PASSES, *steps.REST, "all"} and min(step.values()) > 0
        assert sum(step[part] for part in (*steps.PASSES, *steps.REST)) < step["all"]
        assert steps.outside(step) == pytest.approx(step["all"] / (step["forward"] + step["backward"]) - 1)


def test_a_clock_leaves_no_hook_where_a_step_fails():
    network = torch.nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="behind the forward pass"), steps.Clock(network) as clock:
        network(torch.ones(1))
        raise RuntimeError("behind the forward pass")
    began = []
    clock.begin = began.append
    network(torch.ones(1)).square().backward()
    assert not began


def test_the_backward_pass_begins_behind_the_loss_and_ends_before_the_optimiser():
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters())
    with steps.Clock(network) as clock:
        said = network(torch.ones(1))
        time.sleep(0.5)
        loss = said.square().sum()
        loss.register_hook(lambda grad: time.sleep(0.1))
        loss.backward()
        optimizer.step()
    assert clock.parts.keys() == {"forward", "backward", "optimiser"}
    assert 0.1 <= clock.parts["backward"] < 0.5


def test_encoding_is_told_from_the_rest_of_stage_1(tmp_path):
    stage1.write_clips(tmp_path / "clips", (64, 64), 2)

    def encode(frames):
        time.sleep(0.2)
        return torch.full((16, 9, 8, 8), frames.mean().item())

    whole, reading, encoding = stage1.run(tmp_path / "store", tmp_path / "clips", encode)
    assert whole > encoding >= 0.4 and reading > 0


def test_stage_1_is_run_with_the_embedded_vae(monkeypatch):
    monkeypatch.setattr(stage1, "SOURCES", ((64, 64),))
    (row,) = stage1.table(quick=True).rows
    assert row[0] == "64 x 64" and 0 < float(row[3].removesuffix(" %")) <= 100


def test_what_a_base_in_few_bits_costs_is_measured():
    pytest.importorskip("bitsandbytes")
    found = bits.table(quick=True)
    whole, int8, nf4 = ([float(number) for number in row[1:]] for row in found.rows)
    assert whole[1] == 1 and whole[2] == whole[3] and all(limit.kept for limit in found.limits)
    assert abs(int8[0] - whole[0]) < abs(nf4[0] - whole[0]) and nf4[1] < int8[1] < 1


def test_the_memory_of_a_step_is_held_against_what_is_computed():
    options = {"activations": "fp32", "mixed_precision": "no"}
    measured, computed = memory.measured("narrow", 2, (16, 5, 16, 16), options, memory.HELD["bf16"])
    assert abs(measured / computed - 1) < memory.NEAR
