"""A merged file holds, bit for bit, what ComfyUI's patcher leaves in the model, and a merge that fails leaves nothing."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import comfy.float
import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import host_comfyui
import pytest
import tiny
import torch
from pusa.pusa_model import merge_lora, merge_weights
from pusa.pusa_model.lora import load_lora
from pusa.pusa_model.merge import merge
from pusa.pusa_model.merge_output import listed_name, output_path
from pusa.pusa_model.merged import merged_loras
from pusa.pusa_model.safetensors_stream import pack_header
from pusa.schedulers import InputError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks import merge as bench

PREFIX = "diffusion_model."
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


@pytest.fixture
def loras(tmp_path):
    save_file(PUSA, tmp_path / "pusa.safetensors")
    save_file(LIGHT, tmp_path / "light.safetensors")
    torch.save(PUSA | {}, tmp_path / "pusa.pt")
    return tmp_path


def plain_base(path, weights, dtype, prefix="", metadata=None):
    save_file({f"{prefix}{key}": value.to(dtype) for key, value in weights.items()}, path, metadata)
    return path


def scaled_base(path, weights, form, dtype=torch.float8_e4m3fn, prefix=""):
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
        layers[prefix + layer] = conf
        if form == "entries":
            tensors[f"{prefix}{layer}.comfy_quant"] = torch.tensor(list(json.dumps(conf).encode()), dtype=torch.uint8)
    if form == "old":
        tensors[f"{prefix}scaled_fp8"] = torch.zeros(2, dtype=dtype)
    save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": layers})} if form == "metadata" else None)
    return path


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
    base = scaled_base(loras / "base.safetensors", wan_weights, form)
    assert_merged(base, [(loras / "pusa.safetensors", 1.4), (loras / "light.safetensors", 0.7)], loras)


def test_slices_of_real_sizes_are_the_whole(monkeypatch):
    """Cut into rows, a weight as wide as that of Wan 1.3B comes out as in one piece; so does its fp8 scale."""
    generator = tiny.seeded(1)
    weight = torch.randn(8960, 1536, generator=generator) / 40
    up, down = torch.randn(8960, 64, generator=generator) / 40, torch.randn(64, 1536, generator=generator) / 40
    patches = [(1.4, merge_weights.LoRAAdapter(set(), (up, down, 32.0, None, None, None)), 1.0, None, None)]

    def run():
        arguments = (lambda first, last: weight[first:last].clone(), weight.shape, torch.float8_e4m3fn, patches, "key")
        scale = merge_weights.new_scale(*arguments)
        plain = merge_weights.rounded_rows(*arguments[:2], torch.float32, *arguments[3:])
        return [torch.cat(list(plain)), torch.cat(list(merge_weights.scaled_rows(*arguments, scale))), scale]

    monkeypatch.setattr(merge_weights, "SLICE", 2**30)
    whole = run()
    monkeypatch.setattr(merge_weights, "SLICE", 2**20)
    assert len(merge_weights.row_slices(weight.shape, patches)) == 13
    assert all(torch.equal(bits(part), bits(one)) for part, one in zip(run(), whole))


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("kind", ["plain", "scaled"])
def test_a_prefix_in_the_file_changes_nothing(wan_weights, loras, prefix, kind):
    make = {"plain": lambda path, given: plain_base(path, wan_weights, torch.bfloat16, given)}
    make["scaled"] = lambda path, given: scaled_base(path, wan_weights, "old", prefix=given)
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


@pytest.fixture
def base(wan_weights, loras):
    return plain_base(loras / "base.safetensors", wan_weights, torch.bfloat16)


def tensor_bytes(path):
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def refused(base, loras, output, *said, **options):
    """Nothing may be left beside what was there."""
    folder = output.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as error:
        merge(base, loras, output, **options)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    for words in said:
        assert words in str(error.value)


def test_a_lora_is_merged_once(base, loras):
    pusa, copy = loras / "pusa.safetensors", loras / "renamed.safetensors"
    copy.write_bytes(pusa.read_bytes())
    refused(base, [(pusa, 1.4), (copy, 1.0)], loras / "out.safetensors", "renamed.safetensors is in the model already")
    merge(base, [(pusa, 1.4)], loras / "one.safetensors")
    refused(loras / "one.safetensors", [(copy, 1.0)], loras / "out.safetensors", "(as pusa.safetensors, strength 1.4)")


def test_a_lora_that_fits_in_part_is_refused(base, loras):
    deeper = {key: value for key, value in tiny.lora_weights(layers=3).items() if "blocks.0" in key or "blocks.2" in key}
    save_file(deeper, loras / "deeper.safetensors")
    both = [(loras / "pusa.safetensors", 1.4), (loras / "deeper.safetensors", 1.0)]
    refused(base, both, loras / "out.safetensors", "deeper.safetensors: ", "20 of 40 keys", "blocks.2.")
    wide = {key: value.repeat_interleave(2, 1 if ".lora_A." in key else 0) for key, value in PUSA.items()}
    save_file(wide, loras / "wide.safetensors")
    refused(base, [(loras / "wide.safetensors", 1.4)], loras / "out.safetensors", "whose width is 128", "128 x 128")


def test_a_lora_for_the_other_expert_is_refused(wan_weights, loras):
    base = plain_base(loras / "wan_low_noise.safetensors", wan_weights, torch.bfloat16)
    shutil.copy(loras / "pusa.safetensors", loras / "high_noise_pusa.safetensors")
    refused(base, [(loras / "high_noise_pusa.safetensors", 1.4)], loras / "out.safetensors", "high-noise expert")


@pytest.mark.parametrize("strength", [0.0, float("nan"), float("inf")])
def test_a_strength_that_merges_nothing_is_refused(base, loras, strength):
    refused(base, [(loras / "pusa.safetensors", strength)], loras / "out.safetensors", "`strength`")


def test_no_lora_is_refused(base, loras):
    refused(base, [], loras / "out.safetensors", "no LoRA was given")


def test_values_that_are_not_numbers_are_refused_halfway(base, loras):
    save_file(PUSA | {"blocks.1.ffn.2.lora_A.default.weight": torch.full((4, 256), float("nan"))}, loras / "nan.safetensors")
    refused(base, [(loras / "nan.safetensors", 1.4)], loras / "out.safetensors", "not finite numbers")


@pytest.mark.parametrize(
    "name, said",
    [
        ("wan.gguf", "a GGUF file"),
        ("wan.pt", "a .pt file"),
        ("wan", "without suffix"),
        ("wan-00001-of-00006.safetensors", "split over several files"),
    ],
)
def test_a_base_of_another_kind_is_refused_with_what_is_allowed(base, loras, name, said):
    other = loras / name
    shutil.copy(base, other)
    refused(other, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", said, "single .safetensors file of Wan in bf16")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_base_is_refused(base, loras, keep):
    base.write_bytes(base.read_bytes()[:keep])
    refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", "`base_name`: base.safetensors is damaged")


def test_a_base_that_is_no_wan_or_stored_otherwise_is_refused(wan_weights, loras):
    pusa, out = [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors"
    save_file({"x": torch.zeros(1)}, loras / "x.safetensors")
    refused(loras / "x.safetensors", pusa, out, "holds no Wan model")
    save_file(wan_weights | {"blocks.0.ffn.0.weight": torch.zeros(256, 128, dtype=torch.int8)}, loras / "int8.safetensors")
    refused(loras / "int8.safetensors", pusa, out, "stores blocks.0.ffn.0.weight as I8")
    conf = {"blocks.0.ffn.0.comfy_quant": torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)}
    save_file(wan_weights | conf, loras / "nvfp4.safetensors")
    refused(loras / "nvfp4.safetensors", pusa, out, "stores blocks.0.ffn.0.weight as nvfp4")


def test_missing_files_are_refused(base, loras):
    pusa, out = loras / "pusa.safetensors", loras / "out.safetensors"
    refused(loras / "none.safetensors", [(pusa, 1.4)], out, "none.safetensors")
    refused(base, [(loras / "none.safetensors", 1.4)], out, "none.safetensors")


def test_an_existing_file_is_replaced_only_when_asked(base, loras):
    pusa, out = [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors"
    out.write_text("mine")
    refused(base, pusa, out, "out.safetensors exists", "`overwrite`")
    merge(base, pusa, out, overwrite=True)
    assert merged_loras(out)
    refused(base, pusa, base, "is one of the files", overwrite=True)
    refused(base, pusa, loras / "pusa.safetensors", "is one of the files", overwrite=True)
    refused(base, pusa, loras / "out.ckpt", "must end in .safetensors")
    refused(base, pusa, loras / "none" / "out.safetensors", "the folder of out.safetensors does not exist")


def test_a_full_disk_is_noticed_first(base, loras, monkeypatch):
    usage = shutil.disk_usage(loras)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=base.stat().st_size - 1))
    refused(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", "GB free")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_cancelled_merge_leaves_nothing(base, loras, part):
    before = sorted(loras.iterdir())

    def cancel(done, total):
        if done >= part * total:
            comfy.model_management.interrupt_current_processing()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", progress=cancel)
    assert sorted(loras.iterdir()) == before


def test_progress_goes_up_to_the_end(base, loras):
    seen = []
    merge(base, [(loras / "pusa.safetensors", 1.4)], loras / "out.safetensors", progress=lambda *step: seen.append(step))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] and len({total for _, total in seen}) == 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """ComfyUI's two folders of diffusion models; the old one is listed first."""
    folders = [tmp_path / "models" / name for name in ("unet", "diffusion_models")]
    for each in folders:
        each.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", (list(map(str, folders)), {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folders[1]


def test_a_name_stands_for_a_file_in_the_folder(folder):
    for name, path in {"a": "a", " b.safetensors ": "b", "c/d.v1": "c/d.v1"}.items():
        found = output_path(name)
        assert found == folder / f"{path}.safetensors"
        found.touch()
        assert listed_name(found) in folder_paths.get_filename_list("diffusion_models")


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../x", "a/../../x", "..\\x", "/etc/x", "a\0b", "a:b", "x/..", ".x"])
def test_a_name_that_leads_elsewhere_is_refused(folder, name):
    with pytest.raises(InputError, match="`filename`"):
        output_path(name)
    assert not list(folder.parent.rglob("*.safetensors"))


def test_a_name_that_another_folder_has_is_refused(folder):
    (folder.parent / "unet" / "x.safetensors").touch()
    with pytest.raises(InputError, match="another folder"):
        output_path("x")


def shell(*arguments, **options):
    command = [sys.executable, "-m", "pusa_model.merge", *map(str, arguments)]
    return subprocess.run(command, cwd=host_comfyui.ROOT, capture_output=True, text=True, **options)


def test_the_command_merges_and_says_what_is_wrong(base, loras):
    pusa, out = loras / "pusa.safetensors", loras / "out.safetensors"
    done = shell(base, out, "--lora", f"{pusa}:1.3", "--lora", loras / "light.safetensors")
    assert done.returncode == 0, done.stderr
    assert "100 %" in done.stdout and done.stdout.splitlines()[-1].startswith(f"{out} is complete")
    assert [each["strength"] for each in merged_loras(out)] == [1.3, 1.4]
    merge(base, [(pusa, 1.3), (loras / "light.safetensors", 1.4)], loras / "node.safetensors")
    assert (loras / "node.safetensors").read_bytes() == out.read_bytes()
    again = shell(base, out, "--lora", pusa)
    assert again.returncode == 1 and "Error: `filename`: out.safetensors exists" in again.stderr
    assert shell(base, out).returncode == 2
    assert "COMFYUI_PATH" in shell(base, out, "--lora", pusa, env={**os.environ, "COMFYUI_PATH": ""}).stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_stays_within_a_gigabyte_above_the_largest_tensor(tmp_path):
    """Scaled fp8 takes the most. The process is measured as a whole, with Python, PyTorch and ComfyUI in it."""
    outline = [entry for entry in bench.model_outline(0, scaled=True) if entry[0].startswith(("patch_embedding", "scaled_fp8"))]
    outline += [("blocks.0.ffn.0.weight", "F8_E4M3", (40_000, 5120), 40_000 * 5120), ("blocks.0.ffn.0.scale_weight", "F32", (), 4)]
    base, lora, output = (tmp_path / f"{name}.safetensors" for name in ("base", "lora", "output"))
    bench.write(base, outline, pack_header)
    bench.write(lora, bench.lora_outline(outline, 64), pack_header)
    command = [sys.executable, "-m", "pusa_model.merge", str(base), str(output), "--lora", str(lora)]
    _, resident, _, _ = bench.measured(command)
    assert resident - 40_000 * 5120 <= bench.LIMIT
