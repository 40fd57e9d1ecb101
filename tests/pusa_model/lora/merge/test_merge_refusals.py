"""A merge that cannot work says why and leaves nothing."""

import shutil

import comfy.float
import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import pytest
import tiny
import torch
from merge_files import PUSA, plain_base, refused
from pusa.pusa_model.lora.merge import loras as merge_lora
from pusa.pusa_model.lora.merge.output import listed_name, output_path
from pusa.pusa_model.lora.merge.stream import merge
from pusa.pusa_model.lora.merged import merged_loras
from pusa.schedulers import InputError
from safetensors.torch import save_file


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


@pytest.mark.parametrize("name", ["pusa.safetensors", "pusa.pt"])
def test_a_lora_that_vanishes_halfway_is_told(base, loras, monkeypatch, name):
    monkeypatch.setattr(merge_lora, "_MAPPED", 0)
    other = loras / name.replace("pusa", "other")
    shutil.copy(loras / name, other)

    def vanish(done, total):
        if done > other.stat().st_size if other.exists() else False:
            other.unlink()

    before = sorted(set(loras.iterdir()) - {other})
    with pytest.raises(InputError, match="cannot be read"):
        merge(base, [(other, 1.4)], loras / "out.safetensors", progress=vanish)
    assert sorted(loras.iterdir()) == before


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
        assert output_path(name) == found, "also where it is there already, to be replaced"


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../x", "a/../../x", "..\\x", "/etc/x", "a\0b", "a:b", "x/..", ".x"])
def test_a_name_that_leads_elsewhere_is_refused(folder, name):
    with pytest.raises(InputError, match="`filename`"):
        output_path(name)
    assert not list(folder.parent.rglob("*.safetensors"))


def test_a_name_that_another_folder_has_is_refused(folder):
    (folder.parent / "unet" / "x.safetensors").touch()
    with pytest.raises(InputError, match="another folder"):
        output_path("x")
