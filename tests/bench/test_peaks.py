"""The most memory that a call takes at once."""

import json
import subprocess
import sys

import host_comfyui
import numpy as np
import pytest
import torch

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.measure.peaks import CLEAR, allocated, peaks  # noqa: E402

PART = 32 * 2**20  # bytes


def tensor() -> torch.Tensor:
    return torch.ones(PART // 4)


def at_once():
    kept = tensor()
    return kept + tensor()  # three of them


def one_by_one():
    for _ in range(5):
        tensor()


CALLS = {"one by one": one_by_one, "at once": at_once}

ALONE = """
import json, sys
sys.path.append(sys.argv[1])
import numpy as np
import torch
from benchmarks.measure.peaks import peaks, resident

tensor = lambda: torch.ones(8 * 2**20)
calls = {
    "one by one": lambda: [None for _ in range(5) if tensor() is None],
    "at once": lambda: (kept := tensor()) + tensor(),
    "file": lambda: np.memmap(sys.argv[2], np.float32).sum(),
}
print(json.dumps(peaks(calls, resident)))
"""


def test_what_the_allocator_gives_out_is_counted_to_the_byte():
    assert peaks(CALLS, allocated, rounds=2) == {"one by one": PART, "at once": 3 * PART}


def test_what_is_there_before_or_given_back_does_not_count():
    kept = [tensor()]
    taken = allocated(lambda: (kept.pop(), tensor()))
    assert taken == PART, "a tensor from before the call that ends in it does not lower the peak"


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the most that a process has resident")
def test_pages_of_files_are_resident(tmp_path):
    """In a process of its own, whose heap has no room that other tests have left."""
    file = tmp_path / "file"
    file.write_bytes(bytes(PART))
    answer = subprocess.run([sys.executable, "-c", ALONE, host_comfyui.ROOT, file], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    near = {"one by one": PART, "at once": 3 * PART, "file": PART}
    assert found == {name: pytest.approx(size, abs=PART / 16) for name, size in near.items()}
    assert allocated(lambda: np.memmap(file, np.float32).sum()) == 0


def test_the_least_of_the_rounds_counts_and_every_call_is_undone():
    told, undone = iter([5, 9, 4, 7, 6, 8]), []
    assert peaks({"a": int, "b": int}, lambda call: next(told), lambda: undone.append(1), rounds=3) == {"a": 5, "b": 4}
    assert len(undone) == 6
    assert peaks({"a": int}, lambda call: None) == {"a": None}
