"""Files on disk that several tests of this folder start from."""

import merge_files
import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def loras(tmp_path):
    """A folder with an official Pusa LoRA in both formats, and a LightX2V-like one."""
    save_file(merge_files.PUSA, tmp_path / "pusa.safetensors")
    save_file(merge_files.LIGHT, tmp_path / "light.safetensors")
    torch.save(merge_files.PUSA | {}, tmp_path / "pusa.pt")
    return tmp_path


@pytest.fixture
def base(wan_weights, loras):
    """A tiny Wan in bfloat16, beside the LoRAs."""
    return merge_files.plain_base(loras / "base.safetensors", wan_weights, torch.bfloat16)
