"""A value that is no number is found wherever it is, whatever it lies in, and nothing of the tensor's size is allocated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import finite
from pusa.schedulers.finite import all_finite
from watched import Operations

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(st.lists(st.integers(1, 5), max_size=5), st.data(), st.sampled_from(DTYPES))
def test_one_value_anywhere_is_found(shape, data, dtype):
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert all_finite(tensor)
    place = data.draw(st.integers(0, tensor.numel() - 1))
    tensor.reshape(-1)[place] = data.draw(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
    assert not all_finite(tensor)
    assert not all_finite(tensor.movedim(0, -1) if tensor.ndim else tensor)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_no_values_are_all_finite(shape):
    assert all_finite(torch.zeros(shape))


@pytest.mark.parametrize("bad", [0, 9])
def test_a_large_tensor_is_looked_at_in_parts(monkeypatch, bad):
    monkeypatch.setattr(finite, "PART", 3 * 8)
    frames = torch.zeros(10, 2, 2, 4)
    frames[bad, 1, 1, 3] = float("nan")
    with Operations() as operations:
        assert not all_finite(frames.movedim(-1, 1))
    assert max(size for _, _, size in operations.allocated) <= 4 * finite.PART
