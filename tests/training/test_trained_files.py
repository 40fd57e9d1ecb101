"""Files that a training leaves: ComfyUI's loaders take all of them, and the network says what the trained one said."""

import json
import logging

import comfy.lora
import comfy.model_management
import comfy.sd
import comfy.utils
import pytest
import safetensors
import tiny
import torch
from pusa.pusa_model.lora.load import load_lora
from pusa.training.method.lora import add_lora
from pusa.training.method.network import Base, load_base, training_mode, velocity
from pusa.training.output import pack_version, save_trained
from safetensors.torch import load_file, save_file

X = torch.randn(1, 16, 3, 4, 4, generator=tiny.seeded(1))
SIGMA = torch.tensor([[0.1, 0.9, 0.5]])
CONTEXT = torch.randn(1, 8, tiny.TEXT_WIDTH, generator=tiny.seeded(2))
RECORD = {"base": "wan.safetensors", "rank": 4, "steps": 3}


def said_by(network):
    with training_mode(), torch.no_grad():
        return velocity(network, X, SIGMA, CONTEXT)


def said_by_comfyui(model):
    comfy.model_management.load_models_gpu([model])
    with torch.no_grad():
        return model.model.diffusion_model(X, 1000 * SIGMA, CONTEXT)


@pytest.fixture(params=[None, 2.0], ids=["alpha = rank", "alpha = rank / 2"])
def trained(network, request):
    """A network with a LoRA that was trained, as far as one can see."""
    made = network()
    add_lora(made, 4, alpha=request.param)
    generator = tiny.seeded(7)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture
def lora_file(trained, tmp_path):
    path = tmp_path / "out" / "pusa.safetensors"
    save_trained(path, Base(trained, {"config": "{}"}, None), RECORD, torch.float32, lora=True)
    return path


def test_comfyui_s_own_loader_matches_every_key(lora_file, wan, caplog):
    lora = comfy.utils.load_torch_file(str(lora_file), safe_load=True)
    with caplog.at_level(logging.WARNING):
        patches = comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(wan.model, {}))
    assert len(patches) == 20 and len(lora) == 40 and "not loaded" not in caplog.text


def test_comfyui_s_own_loader_gives_the_trained_network(lora_file, wan, trained):
    lora = comfy.utils.load_torch_file(str(lora_file), safe_load=True)
    patched = comfy.sd.load_lora_for_models(wan, None, lora, 1.0, 0.0)[0]
    expected = said_by(trained)
    assert (said_by_comfyui(patched) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
    assert (said_by_comfyui(wan) - expected).abs().max() > 0.1


def test_load_pusa_lora_gives_the_trained_network(lora_file, wan, trained):
    patched = load_lora(wan, str(lora_file), 1.0, warn=lambda words: None)
    expected = said_by(trained)
    assert (said_by_comfyui(patched) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())


def test_the_file_says_how_it_was_made(lora_file):
    with safetensors.safe_open(lora_file, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["pusa_training"]) == RECORD | {"version": pack_version()}
    assert "config" not in metadata and [path.name for path in lora_file.parent.iterdir()] == [lora_file.name]


def test_a_lora_can_be_saved_in_bf16(trained, tmp_path):
    save_trained(tmp_path / "a.safetensors", Base(trained, {}, None), RECORD, torch.bfloat16, lora=True)
    assert {tensor.dtype for tensor in load_file(tmp_path / "a.safetensors").values()} == {torch.bfloat16}


def test_a_whole_model_loads_like_its_base_and_carries_its_config(tmp_path):
    """The number of heads cannot be seen in the weights; it is in the metadata."""
    config = json.dumps({"transformer": {"num_heads": 2}})
    save_file(tiny.wan_weights(), tmp_path / "base.safetensors", {"config": config, "pusa_training": "of the base"})
    base = load_base(tmp_path / "base.safetensors", full=True)
    assert base.network.num_heads == 2
    with torch.no_grad():
        for parameter in base.network.parameters():
            parameter.mul_(0.9)
    save_trained(tmp_path / "full.safetensors", base, RECORD, torch.float32, lora=False)
    model = comfy.sd.load_diffusion_model(str(tmp_path / "full.safetensors"), {"dtype": torch.float32})
    expected = said_by(base.network)
    assert (said_by_comfyui(model) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
    again = load_base(tmp_path / "full.safetensors", full=True)
    assert again.metadata["config"] == config and json.loads(again.metadata["pusa_training"])["rank"] == 4
    assert load_file(tmp_path / "full.safetensors").keys() == load_file(tmp_path / "base.safetensors").keys()
