"""LoRA files: every spelling adds exactly what it says, and what does not fit is never applied in part."""

import pickle
from pathlib import Path

import comfy.model_management
import pytest
import tiny
import torch
from pusa.pusa_model.lora.load import load_lora
from pusa.schedulers import InputError
from safetensors.torch import save_file

TOLERANCE = 1e-5
RANK = 4
OFFICIAL = tiny.lora_weights(rank=RANK)
MODULES = sorted({key.split(".lora_")[0] for key in OFFICIAL})


def write(path, tensors, metadata=None):
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata)
    else:
        torch.save(tensors, path)
    return str(path)


def loaded(model):
    """Weights of a MODEL as a forward pass reads them, after ComfyUI has loaded it."""
    comfy.model_management.load_models_gpu([model])
    return {key: value.clone() for key, value in model.model.diffusion_model.state_dict().items()}


def pair(module, weights=OFFICIAL):
    return weights[f"{module}.lora_A.default.weight"], weights[f"{module}.lora_B.default.weight"]


def official_sum(weights, strength):
    """W + strength B A, as the official merge does."""
    return {f"{module}.weight": weights[f"{module}.weight"] + strength * pair(module)[1] @ pair(module)[0] for module in MODULES}


def assert_changed_to(model, wan_weights, expected):
    found = loaded(model)
    for key, weight in wan_weights.items():
        assert (found[key] - expected.get(key, weight)).abs().max() <= TOLERANCE, key
        if key in expected:
            assert (expected[key] - weight).abs().max() > 100 * TOLERANCE, f"{key} would not show a missing LoRA"


def renamed(before, after, adapter=""):
    """The official LoRA with another prefix, adapter name and naming of the two factors."""
    a, b = after
    return {f"{before}{module}.{name}{adapter}.weight": factor for module in MODULES for name, factor in zip((a, b), pair(module))}


PEFT, UP_DOWN = ("lora_A", "lora_B"), ("lora_down", "lora_up")
SPELLINGS = {
    "official": OFFICIAL,
    "community": renamed("diffusion_model.", PEFT),
    "bare": renamed("", PEFT),
    "other adapter": renamed("diffusion_model.", PEFT, ".pusa"),
    "peft": renamed("base_model.model.", PEFT, ".default"),
    "diffusers": renamed("transformer.", PEFT),
    "pipeline": renamed("pipe.dit.", PEFT, ".default"),
    "up and down": renamed("diffusion_model.", UP_DOWN),
    "up and down without prefix": renamed("", UP_DOWN),
    "kohya": {key.replace(".", "_", key.count(".") - 2): value for key, value in renamed("lora_unet_", UP_DOWN).items()},
    "Wan Fun": {key.replace(".", "_", key.count(".") - 2): value for key, value in renamed("lora_unet__", UP_DOWN).items()},
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_adds_strength_times_b_a(wan, wan_weights, tmp_path, spelling, suffix):
    path = write(tmp_path / f"lora{suffix}", SPELLINGS[spelling])
    assert_changed_to(load_lora(wan, path, 1.4), wan_weights, official_sum(wan_weights, 1.4))


@pytest.mark.parametrize("wrap", ["state_dict", "module"])
def test_a_checkpoint_may_wrap_its_tensors(wan, wan_weights, tmp_path, wrap):
    path = write(tmp_path / "lora.pt", {wrap: OFFICIAL})
    assert_changed_to(load_lora(wan, path, 1.0), wan_weights, official_sum(wan_weights, 1.0))


def test_alpha_scales_by_alpha_over_rank(wan, wan_weights, tmp_path):
    tensors = renamed("diffusion_model.", UP_DOWN) | {f"diffusion_model.{module}.alpha": torch.tensor(1.0) for module in MODULES}
    path = write(tmp_path / "lora.safetensors", tensors)
    assert_changed_to(load_lora(wan, path, 1.4), wan_weights, official_sum(wan_weights, 1.4 / RANK))


def test_differences_are_added_to_weights_norms_and_biases(wan, wan_weights, tmp_path):
    changes = {
        "blocks.0.self_attn.norm_q.diff": "blocks.0.self_attn.norm_q.weight",
        "blocks.0.self_attn.q.diff_b": "blocks.0.self_attn.q.bias",
        "head.head.diff": "head.head.weight",
        "patch_embedding.diff_b": "patch_embedding.bias",
    }
    generator = tiny.seeded(5)
    tensors = {key: torch.randn(wan_weights[target].shape, generator=generator) for key, target in changes.items()}
    path = write(tmp_path / "lora.safetensors", {f"diffusion_model.{key}": value for key, value in tensors.items()})
    expected = {target: wan_weights[target] + 0.5 * tensors[key] for key, target in changes.items()}
    assert_changed_to(load_lora(wan, path, 0.5), wan_weights, expected)


def test_strength_leaves_no_history(wan, wan_weights, tmp_path):
    """1.4, then 1.2 on the same base, is 1.2 bit for bit; the base is never changed."""
    path = write(tmp_path / "lora.safetensors", OFFICIAL)
    loaded(load_lora(wan, path, 1.4))
    after = loaded(load_lora(wan, path, 1.2))
    fresh = loaded(load_lora(tiny.wan_model(wan_weights), path, 1.2))
    base = loaded(wan)
    for key, weight in wan_weights.items():
        assert torch.equal(after[key], fresh[key])
        assert torch.equal(base[key], weight)
    assert not wan.patches


def test_two_loras_add_up_in_any_order(wan, wan_weights, tmp_path):
    other = tiny.lora_weights(seed=9, rank=2)
    first, second = write(tmp_path / "a.safetensors", OFFICIAL), write(tmp_path / "b.safetensors", other)
    expected = official_sum(wan_weights, 1.4)
    for module in MODULES:
        expected[f"{module}.weight"] = expected[f"{module}.weight"] + pair(module, other)[1] @ pair(module, other)[0]
    assert_changed_to(load_lora(load_lora(wan, first, 1.4), second, 1.0), wan_weights, expected)
    assert_changed_to(load_lora(load_lora(wan, second, 1.0), first, 1.4), wan_weights, expected)


def test_strength_zero_is_the_base_bit_for_bit(wan, wan_weights, tmp_path):
    found = loaded(load_lora(wan, write(tmp_path / "lora.safetensors", OFFICIAL), 0.0))
    assert all(torch.equal(found[key], weight) for key, weight in wan_weights.items())


def refused(model, path):
    """The message of the refusal; nothing may be left on the model."""
    with pytest.raises(InputError) as error:
        load_lora(model, path, 1.4)
    assert not model.patches
    return str(error.value)


def without(*keys):
    return {key: value for key, value in OFFICIAL.items() if key not in keys}


def test_a_file_for_a_deeper_model_is_refused_with_count_and_keys(wan, tmp_path):
    message = refused(wan, write(tmp_path / "lora.safetensors", tiny.lora_weights(layers=3)))
    assert "20 of 60 keys of the file match no weight of this model" in message
    assert "diffusion_model.blocks.2.cross_attn" in message and "blocks.1" not in message


FOREIGN = [
    "lora_te1_text_model.lora_down.weight",
    "blocks.0.self_attn.q.lora_mid.weight",
    "blocks.0.self_attn.q.hada_w1_a",
    "blocks.0.self_attn.norm_q.diff_b",
    "blocks.0.x.diff",
    "blocks.0.modulation.diff",
    "head.head.weight",
    "",
]


@pytest.mark.parametrize("key", FOREIGN)
def test_one_foreign_key_refuses_the_file(wan, tmp_path, key):
    message = refused(wan, write(tmp_path / "lora.safetensors", OFFICIAL | {key: torch.zeros(1, 6, 128)}))
    assert "1 of 41 keys of the file match no weight of this model" in message and f"diffusion_model.{key}" in message


def test_a_file_of_another_width_is_refused_with_both_sizes(wan, tmp_path):
    wide = {key: value.repeat_interleave(2, 1 if ".lora_A." in key else 0) for key, value in OFFICIAL.items()}
    message = refused(wan, write(tmp_path / "lora.safetensors", wide))
    assert "40 of 40 keys of the file do not fit the weights of this model, whose width is 128" in message
    assert "cross_attn.k.lora_A.weight is 4 x 256, the weight 128 x 128" in message


@pytest.mark.parametrize(
    "key, shape, weight",
    [
        ("blocks.0.self_attn.q.lora_A.default.weight", (4, 64), "128 x 128"),
        ("blocks.0.self_attn.q.lora_B.default.weight", (64, 4), "128 x 128"),
        ("blocks.0.self_attn.q.lora_B.default.weight", (128, 8), "128 x 128"),
        ("blocks.0.ffn.0.lora_A.default.weight", (4, 256), "256 x 128"),
        ("blocks.0.self_attn.norm_q.diff", (64,), "128"),
        ("blocks.0.self_attn.q.diff_b", (1,), "128"),
        ("blocks.0.norm3.w_norm", (128, 1), "128"),
    ],
)
def test_one_tensor_of_another_size_refuses_the_file(wan, tmp_path, key, shape, weight):
    message = refused(wan, write(tmp_path / "lora.safetensors", OFFICIAL | {key: torch.zeros(shape)}))
    size = " x ".join(map(str, shape))
    assert f"diffusion_model.{key.replace('.default', '')} is {size}, the weight {weight}" in message
    assert "1 of 4" in message


@pytest.mark.parametrize("missing, present", [("lora_A", "lora_B"), ("lora_B", "lora_A")])
def test_half_a_pair_refuses_the_file(wan, tmp_path, missing, present):
    half = without(f"blocks.1.ffn.2.{missing}.default.weight")
    message = refused(wan, write(tmp_path / "lora.safetensors", half))
    assert f"diffusion_model.blocks.1.ffn.2.{present}.weight has no {missing}.weight beside it" in message


def test_two_keys_for_one_weight_are_refused(wan, tmp_path):
    twice = OFFICIAL | {f"diffusion_model.{key}": value for key, value in OFFICIAL.items()}
    assert "two keys of the file name the same weight" in refused(wan, write(tmp_path / "lora.pt", twice))


@pytest.mark.parametrize(
    "content, said",
    [
        ({}, "the file is empty"),
        (OFFICIAL | {"epoch": 3}, "the entry 'epoch' is a int, not a tensor with a name"),
        (OFFICIAL | {3: torch.zeros(4)}, "the entry 3 is a Tensor, not a tensor with a name"),
        ([torch.zeros(4)] * 2, "the file holds a list, not tensors by name"),
        ([torch.zeros(4)], "the file holds a list, not tensors by name"),
        (torch.zeros(4), "the file holds a Tensor, not tensors by name"),
        (3, "the file holds a int, not tensors by name"),
    ],
)
def test_a_file_that_is_not_named_tensors_is_refused(wan, tmp_path, content, said):
    assert said in refused(wan, write(tmp_path / "lora.pt", content))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(wan, tmp_path, suffix, keep):
    path = tmp_path / f"lora{suffix}"
    write(path, OFFICIAL)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert "the file cannot be read as a LoRA" in refused(wan, str(path))


def test_a_web_page_saved_as_a_lora_is_refused(wan, tmp_path):
    for suffix in (".safetensors", ".pt"):
        path = tmp_path / f"lora{suffix}"
        path.write_text("<!doctype html><html><body>404: Not Found</body></html>")
        assert "Download it again" in refused(wan, str(path))


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_refused_and_not_run(wan, tmp_path, save):
    path, ran = tmp_path / "lora.pt", tmp_path / "ran"
    save(OFFICIAL | {"code": Attack(ran)}, path)
    message = refused(wan, str(path))
    assert not ran.exists()
    assert "holds more than tensors, which is refused because it could run code" in message
    assert "weights_only" not in message
