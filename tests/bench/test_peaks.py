"""The most memory that a call takes at once."""

import json
import subprocess
import sys

import host_comfyui
import pytest
import torch

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.measure.peaks import CLEAR, allocated, peaks  # noqa: E402

PART = 32 * 2**20  # bytes


def tensor() -> torch.Tensor:
    return torch.ones(PART // 4)


ALONE = """
import json, sys
sys.path.append(sys.argv[1])
import numpy as np
import torch
from benchmarks.measure.peaks import allocated, peaks, resident

def tensor():
    return torch.ones(int(sys.argv[3]) // 4)

def one_by_one():
    for _ in range(5):
        tensor()

def at_once():
    kept = tensor()
    return kept + tensor()  # three of them

calls = {"one by one": one_by_one, "at once": at_once, "file": lambda: np.memmap(sys.argv[2], np.float32).sum()}
print(json.dumps([peaks(calls, allocated, rounds=2), peaks(calls, resident)]))
"""


def test_tensors_are_counted_to_the_byte_and_resident_pages_of_files_too(tmp_path):
    """In a process of its own, whose heap has no room that other tests have left."""
    file = tmp_path / "file"
    file.write_bytes(bytes(PART))
    command = [sys.executable, "-c", ALONE, host_comfyui.ROOT, file, str(PART)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    exact, near = json.loads(answer.stdout)
    taken = {"one by one": PART, "at once": 3 * PART}
    assert exact == taken | {"file": 0}
    there = {name: pytest.approx(size, abs=PART / 16) for name, size in (taken | {"file": PART}).items()}
    assert near == (there if CLEAR.exists() else dict.fromkeys(there)), "only Linux tells what a process has resident"


def test_what_is_there_before_or_given_back_does_not_count():
    kept = [tensor()]
    taken = allocated(lambda: (kept.pop(), tensor()))
    assert taken == PART, "a tensor from before the call that ends in it does not lower the peak"


def test_the_least_of_the_rounds_counts_and_every_call_is_undone():
    told, undone = iter([5, 9, 4, 7, 6, 8]), []
    assert peaks({"a": int, "b": int}, lambda call: next(told), lambda: undone.append(1), rounds=3) == {"a": 5, "b": 4}
    assert len(undone) == 6
    assert peaks({"a": int}, lambda call: None) == {"a": None}
