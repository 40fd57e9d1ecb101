"""Bases and LoRAs that the merge tests work on."""

import json

import pytest
import tiny
import torch
from pusa.pusa_model.lora.merge.stream import merge
from pusa.schedulers import InputError
from safetensors.torch import save_file

PLAIN = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp8 e4m3": torch.float8_e4m3fn,
    "fp8 e5m2": torch.float8_e5m2,
}
PUSA = tiny.lora_weights()
LIGHT = {
    key.replace("lora_A.default", "lora_down").replace("lora_B.default", "lora_up"): value.to(torch.bfloat16)
    for key, value in tiny.lora_weights(seed=9, rank=2).items()
}
LIGHT |= {f"{key.split('.lora_')[0]}.alpha": torch.tensor(1.0) for key in LIGHT}
LIGHT |= {
    "blocks.0.self_attn.q.diff_b": torch.randn(128, generator=tiny.seeded(20)),
    "blocks.0.self_attn.norm_q.diff": torch.randn(128, generator=tiny.seeded(21)),
    "patch_embedding.diff_b": torch.randn(128, generator=tiny.seeded(22)),
    "head.head.diff": torch.randn(64, 128, generator=tiny.seeded(23)),
    "blocks.1.cross_attn.k.diff_m": torch.randn(128, generator=tiny.seeded(24)),
}
LIGHT = {f"diffusion_model.{key}": value for key, value in LIGHT.items()}


def plain_base(path, weights, dtype, prefix="", metadata=None):
    save_file({f"{prefix}{key}": value.to(dtype) for key, value in weights.items()}, path, metadata)
    return path


def scaled_base(path, weights, form, dtype=torch.float8_e4m3fn, prefix="", noted=None):
    """Scaled fp8 in the three spellings that ComfyUI reads: old keys, `comfy_quant` entries, or metadata."""
    tensors, layers = {}, {}
    conf = {"format": str(dtype).removeprefix("torch.")}
    for key, weight in weights.items():
        layer = key.removesuffix(".weight")
        if weight.ndim != 2 or not key.startswith("blocks.") or "norm" in key:
            tensors[prefix + key] = weight
            continue
        scale = weight.abs().amax() / torch.finfo(dtype).max * 1.5
        tensors[prefix + key] = (weight / scale).to(dtype)
        tensors[f"{prefix}{layer}.{'scale_weight' if form == 'old' else 'weight_scale'}"] = scale
        layers[(prefix if noted is None else noted) + layer] = conf
        if form == "entries":
            tensors[f"{prefix}{layer}.comfy_quant"] = torch.tensor(list(json.dumps(conf).encode()), dtype=torch.uint8)
    if form == "old":
        tensors[f"{prefix}scaled_fp8"] = torch.zeros(2, dtype=dtype)
    save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": layers})} if form == "metadata" else None)
    return path


def tensor_bytes(path):
    """What lies behind the header of a safetensors file."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def refused(base, loras, output, *said, **options):
    """A merge ends in an error that says all this without a path, and leaves nothing beside what was there."""
    folder = output.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as error:
        merge(base, loras, output, **options)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert str(folder) not in str(error.value)
    for words in said:
        assert words in str(error.value)
