"""A clip sampled by several processes, each with a slice of its tokens, is that of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import token_process
from safetensors.torch import load_file

MOST = 1.2e-5  # of latents of standard deviation 3 to 4; 0 where MKL computes a row alike in matrices of every height
ROW_BY_ROW = {"MKL_CBWR": "AVX2,STRICT"}


def sampled(size: int, folder: Path) -> dict:
    """The latent of each task by so many processes."""
    command, result = [sys.executable, token_process.__file__], folder / f"{size}.safetensors"
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(size), str(folder / f"store-{size}"), str(result)],
            cwd=Path(__file__).parent,
            env=os.environ | ROW_BY_ROW,
        )
        for rank in range(size)
    ]
    try:
        assert [rank.wait(240) for rank in ranks] == [0] * size
    finally:
        for rank in ranks:
            rank.kill()
    return load_file(result)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    return sampled(1, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("size", [2, 4])
def test_slices_equal_one_process(alone, size, tmp_path):
    found = sampled(size, tmp_path)
    assert found.keys() == alone.keys() == token_process.TASKS.keys()
    for task, latent in alone.items():
        assert (found[task] - latent).abs().max() <= MOST, task
