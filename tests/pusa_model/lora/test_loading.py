"""What surrounds a LoRA: which expert it is for, whether it is there already, and what is probably not meant."""

import comfy.sd
import pytest
import tiny
import torch
from pusa.pusa_model.families.lookup import model_file
from pusa.pusa_model.guards import advice, check_pair
from pusa.pusa_model.lora.load import load_lora
from pusa.pusa_model.lora.merge.stream import merge
from pusa.pusa_model.lora.provenance import expert_of, is_distilled
from pusa.schedulers import InputError
from safetensors.torch import save_file
from sampled import empty, given, run


@pytest.fixture
def files(tmp_path, wan_weights):
    """Writer of model and LoRA files by name; returns the path."""

    def write(name: str, weights=None) -> str:
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(tiny.lora_weights() if weights is None else weights, path)
        return str(path)

    return write


def load_model(path):
    return comfy.sd.load_diffusion_model(path, model_options={"dtype": torch.float32})


@pytest.mark.parametrize(
    "path, expert",
    [
        ("Wan22_PusaV1_lora_HIGH_resized_dynamic_avg_rank_98_bf16.safetensors", "high"),
        ("models/loras/low_noise_pusa.safetensors", "low"),
        ("Wan2.2-T2V-A14B-HighNoise-Q4_K_M.gguf", "high"),
        ("wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", "low"),
        ("Wan2.2-Lightning/high_noise_model/model.safetensors", "high"),
        ("low_noise_pusa/high_noise.safetensors", "high"),
        ("loras/high/low/flow_follow.safetensors", "low"),
        ("highlights_slow_motion.safetensors", None),
        ("high_and_low.safetensors", None),
        ("pusa_v1.pt", None),
        (None, None),
    ],
)
def test_the_expert_is_read_from_the_name(path, expert):
    assert expert_of(path) == expert


@pytest.mark.parametrize("name", ["Wan21_T2V_lightx2v_rank64", "Wan2.2-Lightning_4steps", "cfg_step_distill_v2", "CausVid"])
def test_distillation_loras_are_known_by_name(name):
    assert is_distilled(f"loras/{name}.safetensors")
    assert not is_distilled("Wan21_PusaV1_LoRA_14B_rank512_bf16.safetensors")


def test_a_lora_for_the_other_expert_is_refused(files, wan_weights):
    model = load_model(files("wan2.2_t2v_high_noise", wan_weights))
    with pytest.raises(InputError, match="made for the low-noise expert.*the model is the high-noise one.*Exchange"):
        load_lora(model, files("low_noise_pusa"), 1.4)
    assert load_lora(model, files("high_noise_pusa"), 1.4).patches


@pytest.mark.parametrize("again", ["the same file", "a copy", "other key names", "through ComfyUI's own node"])
def test_the_same_lora_twice_is_refused_wherever_the_first_came_from(wan, files, again):
    first = files("pusa")
    copy = files("renamed", {f"diffusion_model.{key}": value for key, value in tiny.lora_weights().items()})
    if again == "through ComfyUI's own node":
        once = comfy.sd.load_lora_for_models(wan, None, comfy.utils.load_torch_file(copy), 1.0, 0.0)[0]
    else:
        once = load_lora(wan, first, 1.4)
    between = load_lora(once, files("lightx2v", tiny.lora_weights(seed=8)), 1.0)
    second = {"the same file": first, "a copy": files("pusa2")}.get(again, copy)
    with pytest.raises(InputError, match="is on this model already.*flashes"):
        load_lora(between, second, 1.4)
    assert load_lora(wan, first, 1.4).patches, "the base model is free of it"


def test_a_lora_that_was_merged_into_the_model_file_is_refused(files, wan_weights, tmp_path):
    pusa, other, merged = files("pusa"), files("lightx2v", tiny.lora_weights(seed=8)), tmp_path / "merged.safetensors"
    merge(files("wan", wan_weights), [(pusa, 1.4)], merged)
    model = load_model(str(merged))
    with pytest.raises(InputError, match="pusa.safetensors is in the model already .as pusa.safetensors, strength 1.4"):
        load_lora(model, pusa, 1.4)
    assert load_lora(model, other, 1.0).patches
    assert not advice(model, 3.0, 10, True), "the Pusa LoRA is in the file"


def test_a_pair_exchanged_by_name_is_refused(files, wan_weights):
    high, low = (load_model(files(f"wan_{name}_noise", wan_weights)) for name in ("high", "low"))
    with pytest.raises(InputError, match="are exchanged: `model` is wan_low_noise"):
        check_pair(low, high)
    check_pair(high, low)
    with pytest.raises(InputError, match="are the same model"):
        check_pair(high, load_model(model_file(high)))


@pytest.mark.parametrize("strength, said", [(1.2, 1), (1.3, 0), (1.4, 0), (2.0, 0), (2.1, 1), (-1.0, 1), (0.0, 0)])
def test_an_unusual_strength_is_told_with_the_measurements(wan, files, strength, said):
    warnings = []
    load_lora(wan, files("pusa"), strength, warnings.append)
    assert len(warnings) == said
    assert all("87.7 (66) at 1.4" in text for text in warnings)
    load_lora(wan, files("lightx2v_4steps"), 1.0, pytest.fail)


def test_strength_zero_is_no_lora(wan, files):
    """The file is checked, and the model stays free for it: nothing is on it, and the sampler says so."""
    off = load_lora(wan, files("pusa"), 0.0)
    assert not off.patches and "No LoRA is on the model" in advice(off, 3.0, 10, True)[0]
    assert load_lora(off, files("pusa"), 1.4).patches


def test_modulation_entries_are_left_out_aloud(wan, files):
    weights = tiny.lora_weights() | {"diffusion_model.blocks.0.diff_m": torch.ones(1, 6, tiny.WIDTH)}
    warnings = []
    with_entries = load_lora(wan, files("with", weights), 1.4, warnings.append)
    assert len(warnings) == 1 and "1 modulation entries" in warnings[0]
    assert with_entries.patches.keys() == load_lora(wan, files("without"), 1.4).patches.keys()


def test_what_is_probably_not_meant_is_told(wan, files):
    pusa = load_lora(wan, files("pusa"), 1.4)
    fast = load_lora(pusa, files("lightx2v", tiny.lora_weights(seed=8)), 1.0)
    core = comfy.sd.load_lora_for_models(pusa, None, {f"diffusion_model.{k}": v for k, v in tiny.lora_weights(3).items()}, 1, 0)[0]
    assert not advice(pusa, 3.0, 10, True) and not advice(fast, 1.0, 4, True) and not advice(wan, 3.0, 10, False)
    assert "No LoRA is on the model" in advice(wan, 3.0, 10, True)[0]
    assert "cfg is 3 with the distillation LoRA lightx2v.safetensors" in advice(fast, 3.0, 4, True)[0]
    assert "4 steps without a distillation LoRA are few" in advice(pusa, 3.0, 4, True)[0]
    assert advice(pusa, 3.0, 7, True) and not advice(pusa, 3.0, 8, True)
    assert not advice(core, 1.0, 4, True), "what another node loaded may be a distillation LoRA"


def test_a_run_tells_each_thing_once(wan, positive, negative):
    latent, warnings = empty(), []
    other = tiny.wan_model(tiny.wan_weights(10))
    run(wan, positive, negative, latent, given(latent, "0", "0.2"), model_low=other, warn=warnings.append)
    assert len(warnings) == 1 and "No LoRA is on the model" in warnings[0]


def test_each_expert_is_told_of_its_own_guidance(wan, files, positive, negative):
    fast = [load_lora(tiny.wan_model(tiny.wan_weights(seed)), files("pusa_lightx2v"), 1.0) for seed in (0, 10)]
    warnings = []
    run(fast[0], positive, negative, empty(), model_low=fast[1], cfg=1.0, cfg_low=2.0, warn=warnings.append)
    assert warnings == [text for text in advice(fast[1], 2.0, 4, False)] and len(warnings) == 1


def test_frames_that_are_all_free_are_no_given_frames(wan, positive, negative):
    """A condition of multiplier 1 asks nothing of the model, so nothing is said of the Pusa LoRA."""
    latent = empty()
    run(wan, positive, negative, latent, given(latent, "0", "1"), warn=pytest.fail)
