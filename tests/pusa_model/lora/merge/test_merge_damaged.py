"""Bases whose notes, scales or numbers are damaged are refused in words."""

import pytest
import torch
from merge_files import PLAIN, plain_base, refused, scaled_base
from pusa.pusa_model.lora.merge.stream import merge
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MARKED = '{"layers": {"blocks.0.ffn.0": %s}}'
LAYER = "blocks.0.ffn.0"


@pytest.mark.parametrize(
    "note", ["", "{", "[" * 10_000, "[]", "1", '{"x": 1}', '{"layers": 1}', MARKED % "1", MARKED % '{"format": [1]}']
)
def test_a_note_on_quantisation_in_the_metadata_that_is_none_is_refused(base, loras, note):
    save_file(load_file(base), base, {"_quantization_metadata": note})
    refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", "`base_name`: base.safetensors has a note on its")


@pytest.mark.parametrize("note", [b"", b"\xff", b"{", b"[" * 10_000, b"null", b'"x"', b'{"format": null}', b'{"format": {}}'])
def test_a_note_on_quantisation_of_a_layer_that_is_none_is_refused(base, loras, note):
    save_file(load_file(base) | {f"{LAYER}.comfy_quant": torch.tensor(list(note), dtype=torch.uint8)}, base)
    refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", "`base_name`: base.safetensors has a note on its")


@pytest.mark.parametrize("form, name", [("old", "scale_weight"), ("entries", "weight_scale"), ("metadata", "weight_scale")])
@pytest.mark.parametrize("scale", [None, torch.ones(2), torch.ones((), dtype=torch.int8), torch.tensor(float("nan"))], ids=str)
def test_a_scale_that_is_none_is_refused(wan_weights, loras, form, name, scale):
    base = scaled_base(loras / "base.safetensors", wan_weights, form)
    tensors = load_file(base)
    del tensors[f"{LAYER}.{name}"]
    if scale is not None:
        tensors[f"{LAYER}.{name}"] = scale
    with safe_open(base, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, base, metadata)
    if form == "old" and scale is None:
        merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors")  # ComfyUI reads it as plain fp8
    else:
        said = "is missing" if scale is None else "is not one finite number"
        refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", f"{LAYER}.weight in scaled fp8", said)


@pytest.mark.parametrize("dtype", [*PLAIN.values(), "scaled"], ids=str)
def test_values_of_the_base_that_are_not_numbers_are_refused_by_name(wan_weights, loras, dtype):
    if dtype == "scaled":
        base = scaled_base(loras / "base.safetensors", wan_weights, "old")
    else:
        base = plain_base(loras / "base.safetensors", wan_weights, dtype)
    tensors = load_file(base)
    weight = tensors[f"{LAYER}.weight"]
    weight.view(torch.uint8)[17, -1] = 0x7F
    weight.view(torch.uint8)[17, -2] = 0xFF
    assert not weight.float().isfinite().all()
    save_file(tensors, base)
    refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", f"{LAYER}.weight holds values that are not")


def test_weights_that_a_lora_makes_too_large_are_refused_by_name(wan_weights, loras):
    base = plain_base(loras / "base.safetensors", wan_weights, torch.float16)
    refused(base, [(loras / "pusa.safetensors", 1e9)], loras / "out.safetensors", ".weight holds", "too large for the format")
