"""A merged file holds, bit for bit, what ComfyUI's patcher leaves in the model."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import comfy.float
import comfy.lora
import comfy.model_management
import comfy.sd
import comfy.utils
import pytest
import tiny
import torch
from comfy.quant_ops import get_layout_class
from merge_files import LIGHT, PLAIN, PUSA, plain_base, scaled_base, tensor_bytes
from pusa.pusa_model.lora.load import load_lora
from pusa.pusa_model.lora.merge import base as merge_base
from pusa.pusa_model.lora.merge import loras as merge_lora
from pusa.pusa_model.lora.merge import rounding as merge_rounding
from pusa.pusa_model.lora.merge import weights as merge_weights
from pusa.pusa_model.lora.merge.base import BaseFile
from pusa.pusa_model.lora.merge.stream import DEVICE, merge
from pusa.pusa_model.lora.merged import merged_loras
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensorMode

PREFIX = "diffusion_model."


def patched(base, loras, dtype=None):
    """State dict of the network after ComfyUI has loaded the base, applied the LoRAs and put them into the weights."""
    model = comfy.sd.load_diffusion_model(str(base), model_options={"dtype": dtype} if dtype else {})
    for path, strength in loras:
        model = load_lora(model, str(path), strength)
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    found = {key: value.clone() for key, value in model.model.diffusion_model.state_dict().items()}
    model.detach()
    return found


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_merged(base, loras, tmp_path, dtype=None):
    """The model that ComfyUI loads from the merged file is what its patcher makes of the base; returns the file.

    ComfyUI holds the patch embedding in float32 whatever the file has. There the file is that, rounded.
    """
    output = tmp_path / "merged.safetensors"
    merge(base, loras, output)
    expected, unpatched, found = patched(base, loras, dtype), patched(base, [], dtype), patched(output, [], dtype)
    file = load_file(output)
    assert list(found) == list(expected)
    for key, value in expected.items():
        if key.startswith("patch_embedding.") and not torch.equal(value, unpatched[key]):
            seed = comfy.utils.string_to_seed(PREFIX + key)
            value = comfy.float.stochastic_rounding(value, file[key].dtype, seed).to(value.dtype)
        assert found[key].dtype == value.dtype and torch.equal(bits(found[key]), bits(value)), key
    changed = [key for key in expected if not torch.equal(bits(expected[key]), bits(unpatched[key]))]
    assert len([key for key in changed if key.endswith(".weight")]) >= 20
    return file


@pytest.mark.parametrize("rows", [2**30, 4096], ids=["whole", "sliced"])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_file_is_what_the_patcher_makes(wan_weights, loras, monkeypatch, kind, rows):
    monkeypatch.setattr(merge_weights, "SLICE", rows)
    monkeypatch.setattr(merge_base, "_READ", rows // 3)
    base = plain_base(loras / "base.safetensors", wan_weights, PLAIN[kind])
    both = [(loras / "pusa.safetensors", 1.4), (loras / "light.safetensors", 0.7)]
    found = assert_merged(base, both, loras, PLAIN[kind])
    before = load_file(base)
    assert {key: (value.dtype, value.shape) for key, value in found.items()} == {
        key: (value.dtype, value.shape) for key, value in before.items()
    }


@pytest.mark.parametrize("rows", [2**30, 4096], ids=["whole", "sliced"])
@pytest.mark.parametrize("form", ["old", "entries", "metadata"])
def test_a_scaled_file_is_what_the_patcher_makes(wan_weights, loras, monkeypatch, form, rows):
    monkeypatch.setattr(merge_weights, "SLICE", rows)
    monkeypatch.setattr(merge_base, "_READ", rows // 3)
    base = scaled_base(loras / "base.safetensors", wan_weights, form)
    assert_merged(base, [(loras / "pusa.safetensors", 1.4), (loras / "light.safetensors", 0.7)], loras)


def pair(up, down, strength=1.4, alpha=None):
    """A LoRA as a ModelPatcher holds it for one weight."""
    return strength, merge_weights.LoRAAdapter(set(), (up, down, alpha, None, None, None)), 1.0, None, None


def weight_of(rows, dtype, *patches):
    """A weight to be patched that is read from a tensor in float32."""
    read = lambda first, last, out: out.copy_(rows[first:last])  # noqa: E731
    return merge_weights.Weight("key", tuple(rows.shape), dtype, read, patches)


@pytest.fixture
def patcher():
    with ThreadPoolExecutor(1) as worker:
        yield merge_weights.Patcher(torch.device("cpu"), worker)


def test_slices_of_real_sizes_are_the_whole(monkeypatch, patcher):
    """Cut into rows, a weight as wide as that of Wan 1.3B comes out as in one piece; so does its fp8 scale."""
    generator = tiny.seeded(1)
    rows = torch.randn(8960, 1536, generator=generator) / 40
    lora = pair(torch.randn(8960, 64, generator=generator) / 40, torch.randn(64, 1536, generator=generator) / 40, 1.4, 32.0)
    plain, fp8 = weight_of(rows, torch.float32, lora), weight_of(rows, torch.float8_e4m3fn, lora)

    def run():
        scale, blocks = patcher.scaled(fp8)
        return [torch.cat(list(blocks)), torch.cat([block.clone() for block in patcher.rounded(plain)]), scale]

    monkeypatch.setattr(merge_weights, "SLICE", 2**30)
    whole = run()
    monkeypatch.setattr(merge_weights, "SLICE", 2**20)
    assert len(fp8.slices) == 13
    kept = run()
    monkeypatch.setattr(merge_weights, "KEPT", 0)
    assert all(torch.equal(bits(one), bits(part)) for found in (kept, run()) for one, part in zip(whole, found))


@pytest.mark.parametrize("shape", [(5120, 5120), (1536, 8960)])
def test_a_weight_of_a_real_model_is_what_the_patcher_makes(patcher, shape):
    """With the rank of the official file; also where a block ends within a row."""
    generator = tiny.seeded(2)
    numbers = (100 * torch.randn(shape, generator=generator)).clamp_(-448, 448).to(torch.float8_e4m3fn)
    up, down = (torch.randn(size, generator=generator).div_(40).bfloat16() for size in ((shape[0], 512), (512, shape[1])))
    lora, scale = pair(up, down), torch.tensor(3e-4)
    layout = get_layout_class("TensorCoreFP8E4M3Layout")
    params = layout.Params(scale=scale, orig_dtype=torch.float32, orig_shape=shape)
    rows = layout.dequantize(numbers, params)
    found, blocks = patcher.scaled(weight_of(rows, torch.float8_e4m3fn, lora))
    found_bytes = torch.cat(list(blocks))
    expected = comfy.lora.calculate_weight([lora], rows, "key")
    seed = comfy.utils.string_to_seed("key")
    expected, params = layout.quantize(expected, scale="recalculate", stochastic_rounding=seed, inplace_ops=True)
    assert torch.equal(found, params.scale) and torch.equal(found_bytes, bits(expected))


def test_a_scaled_weight_is_read_once_unless_it_is_too_large(monkeypatch, patcher):
    rows, read = torch.randn(64, 32, generator=tiny.seeded(3)), []
    lora = pair(torch.randn(64, 4), torch.randn(4, 32))
    weight = replace(weight_of(rows, torch.float8_e4m3fn, lora), read=lambda *bounds: read.append(bounds[:2]))
    monkeypatch.setattr(merge_weights, "SLICE", 256)
    monkeypatch.setattr(merge_weights, "_check_finite", lambda *given: None)  # nothing is written into the memory here
    list(patcher.scaled(weight)[1])
    assert read == weight.slices and len(read) == 8
    monkeypatch.setattr(merge_weights, "KEPT", rows.numel() - 1)
    list(patcher.scaled(weight)[1])
    assert read[8:] == weight.slices * 2


@pytest.mark.parametrize("kind", [*PLAIN, "scaled"])
def test_every_row_of_a_file_is_read_once(wan_weights, loras, monkeypatch, kind):
    if kind == "scaled":
        base = scaled_base(loras / "base.safetensors", wan_weights, "old")
    else:
        base = plain_base(loras / "base.safetensors", wan_weights, PLAIN[kind])
    monkeypatch.setattr(merge_weights, "SLICE", 4096)
    read, counted = {}, BaseFile.float_rows

    def count(self, stored, first, last, out):
        read.setdefault(stored.name, []).extend(range(first, last))
        counted(self, stored, first, last, out)

    monkeypatch.setattr(BaseFile, "float_rows", count)
    with torch.inference_mode():  # as nodes run
        merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors")
    assert len(read) == 20 and all(rows == list(range(len(wan_weights[name]))) for name, rows in read.items())


def test_a_weight_of_zeros_stays_zero(patcher):
    """The patcher divides by the largest number, here 0, which makes every weight NaN."""
    scale, blocks = patcher.scaled(weight_of(torch.zeros(8, 8), torch.float8_e4m3fn, pair(torch.zeros(8, 2), torch.ones(2, 8))))
    assert scale == 1 and not torch.cat(list(blocks)).any()


def test_the_device_is_in_the_metadata_beside_those_of_earlier_merges(wan_weights, loras):
    pusa, light = ([(loras / name, 1.0)] for name in ("pusa.safetensors", "light.safetensors"))
    base = plain_base(loras / "base.safetensors", wan_weights, torch.bfloat16, metadata={DEVICE: "cuda (A card)"})
    merge(base, pusa, loras / "one.safetensors")
    merge(loras / "one.safetensors", light, loras / "two.safetensors", device=torch.device("cpu"))
    for name in ("one", "two"):
        with safe_open(loras / f"{name}.safetensors", "pt") as file:
            assert file.metadata()[DEVICE] == "cuda (A card), cpu"


def test_a_gpu_is_given_and_gives_tensors_of_its_own(monkeypatch):
    """PyTorch's fake tensors refuse whatever mixes devices; numbers there are none."""
    lora = pair(torch.zeros(256, 4, dtype=torch.bfloat16), torch.zeros(4, 128, dtype=torch.bfloat16))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    tables = {dtype: merge_rounding.rounding_table(dtype) for dtype in merge_rounding.FP8}
    with ThreadPoolExecutor(1) as worker, FakeTensorMode(allow_non_fake_inputs=True):
        patcher = merge_weights.Patcher(gpu, worker)
        monkeypatch.setattr(merge_rounding, "rounding_table", tables.get)
        rows = torch.empty(256, 128, device=gpu)
        patcher._add(rows, 1.4, lora[1], 0, 256)
        assert {memory.device.type for memory in patcher.memory.values()} == {"cuda"}
        rounded = merge_rounding.round_to_fp8(rows.view(-1), torch.zeros(256 * 128, dtype=torch.uint8), torch.float8_e4m3fn)
        assert rounded.device == cpu and rounded.dtype == torch.uint8


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("kind", ["plain", "old", "metadata", "metadata without the prefix"])
def test_a_prefix_in_the_file_changes_nothing(wan_weights, loras, prefix, kind):
    form, _, bare = kind.partition(" without ")
    scaled = lambda path, given: scaled_base(path, wan_weights, form, prefix=given, noted="" if bare else given)  # noqa: E731
    make = {kind: scaled} | {"plain": lambda path, given: plain_base(path, wan_weights, torch.bfloat16, given)}
    files = []
    for given in ("", prefix):
        base = make[kind](loras / f"base{len(files)}.safetensors", given)
        merge(base, [(loras / "pusa.safetensors", 1.4)], loras / f"out{len(files)}.safetensors")
        files.append(load_file(loras / f"out{len(files)}.safetensors"))
    bare, prefixed = files
    assert set(prefixed) == {prefix + key for key in bare}
    assert all(torch.equal(bits(prefixed[prefix + key]), bits(value)) for key, value in bare.items())


def test_a_pickled_lora_gives_the_same_file(base, loras, monkeypatch):
    monkeypatch.setattr(merge_lora, "_MAPPED", 1000)
    merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "one.safetensors")
    merge(base, [(loras / "pusa.pt", 1.4)], loras / "two.safetensors")
    assert tensor_bytes(loras / "one.safetensors") == tensor_bytes(loras / "two.safetensors")


def test_two_loras_in_either_order_differ_by_rounding_only(wan_weights, loras):
    base = plain_base(loras / "base.safetensors", wan_weights, torch.float32)
    both = [(loras / "pusa.safetensors", 1.4), (loras / "light.safetensors", 0.7)]
    merge(base, both, loras / "one.safetensors")
    merge(base, both[::-1], loras / "two.safetensors")
    one, two = load_file(loras / "one.safetensors"), load_file(loras / "two.safetensors")
    assert max((one[key] - two[key]).abs().max() for key in one) < 1e-6


def test_alpha_counts_by_alpha_over_rank(wan_weights, loras):
    base = plain_base(loras / "base.safetensors", wan_weights, torch.float32)
    merge(base, [(loras / "light.safetensors", 1.0)], loras / "out.safetensors")
    name, module = "blocks.1.ffn.0.weight", "diffusion_model.blocks.1.ffn.0"
    expected = wan_weights[name] + 0.5 * LIGHT[f"{module}.lora_up.weight"].float() @ LIGHT[f"{module}.lora_down.weight"].float()
    assert (load_file(loras / "out.safetensors")[name] - expected).abs().max() < 1e-6


def test_dora_is_merged_as_the_patcher_does(wan_weights, loras, monkeypatch):
    monkeypatch.setattr(merge_weights, "SLICE", 4096)
    module = "blocks.0.self_attn.q"
    dora = {key: value for key, value in PUSA.items() if key.startswith(f"{module}.")}
    dora[f"{module}.dora_scale"] = 1 + torch.rand(128, 1, generator=tiny.seeded(6))
    save_file(dora, loras / "dora.safetensors")
    base = plain_base(loras / "base.safetensors", wan_weights, torch.bfloat16)
    merge(base, [(loras / "dora.safetensors", 0.5)], loras / "out.safetensors")
    expected = patched(base, [(loras / "dora.safetensors", 0.5)], torch.bfloat16)[f"{module}.weight"]
    assert torch.equal(load_file(loras / "out.safetensors")[f"{module}.weight"], expected)


def test_other_tensors_and_the_metadata_stay_and_what_was_merged_is_added(wan_weights, loras):
    base = plain_base(loras / "base.safetensors", wan_weights, torch.bfloat16, metadata={"format": "pt", "note": 'a "b" c\u00e9'})
    merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "one.safetensors")
    merge(loras / "one.safetensors", [(loras / "light.safetensors", 0.7)], loras / "two.safetensors")
    with safe_open(loras / "two.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["note"] == 'a "b" c\u00e9' and metadata["format"] == "pt"
    listed = [
        {"file": name, "sha256": hashlib.sha256((loras / name).read_bytes()).hexdigest(), "strength": strength}
        for name, strength in (("pusa.safetensors", 1.4), ("light.safetensors", 0.7))
    ]
    assert merged_loras(loras / "two.safetensors") == listed == json.loads(metadata["pusa_merged"])
    assert merged_loras(loras / "one.safetensors") == listed[:1]
    before, after = load_file(base), load_file(loras / "one.safetensors")
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert same == set(before) - {f"{key.split('.lora_')[0]}.weight" for key in PUSA}


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]", b'\x04\0\0\0\0\0\0\0{"a"'])
def test_a_file_that_says_nothing_holds_no_loras(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert merged_loras(path) == merged_loras(tmp_path / "none.safetensors") == merged_loras(tmp_path / "x.gguf") == []
