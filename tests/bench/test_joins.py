"""What `bench extend` says of a join, on courses where it is known."""

import sys

import host_comfyui
import pytest
import torch

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.extend import time_passed, wrong  # noqa: E402

LINE = torch.arange(40.0)[:, None] * torch.tensor([[1.5, 0.5]])


@pytest.mark.parametrize("change, frames", [(0, 1), (1, 2), (-1, 0)])
def test_a_repeated_and_a_missing_frame_are_told_from_the_motion(change, frames):
    course = torch.cat([LINE[:20], LINE[20 + change : 36]])
    assert time_passed(course, 20) == pytest.approx(frames, abs=1e-4)
    assert wrong([time_passed(course, 20)], 1.0) == (change != 0)


def test_a_thing_that_was_not_seen_counts_as_wrong():
    course = LINE.clone()
    course[21] = torch.nan
    assert wrong([time_passed(course, 20)], 1.0) == 1
