"""Loss and LoRA gradients of the official training step, on the reference network: assets/golden/train."""

import json

import golden
import pytest
import torch
from pusa.training.method.lora import add_lora
from pusa.training.method.network import load_weights, training_mode, velocity
from pusa.training.method.objective import gaussian_weight, loss, noised, target
from pusa.training.method.timesteps import level_grid
from safetensors.torch import load_file

FOLDER = golden.FOLDER / "train"
ABOUT = json.loads((FOLDER / "train_loss.json").read_text())
SHIFT = ABOUT["grid"]["shift"]


@pytest.fixture(scope="module")
def stored():
    return load_file(FOLDER / "train_loss.safetensors")


def network_with(stored, dtype):
    made = load_weights({name: value.to(dtype) for name, value in golden.weights().items()})
    add_lora(made, ABOUT["lora"]["rank"], ABOUT["lora"]["alpha"], ABOUT["lora"]["targets"])
    parameters = {name: parameter for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert len(parameters) == 40
    for name, parameter in parameters.items():
        parameter.data.copy_(stored[f"lora/{name}"])
    return made, parameters


def step(stored, name, sigma, told, dtype=torch.float32):
    """(loss, velocity, gradients) of the case, at these levels of the noise and these that the network is told."""
    case = ABOUT["cases"][name]
    made, parameters = network_with(stored, dtype)
    clean, noise = stored[f"{name}/latents"].float(), stored[f"{name}/noise"].float()
    x, context = noised(clean, noise, sigma).to(dtype), stored["context"].to(dtype)
    with training_mode():
        with torch.autocast("cpu", torch.bfloat16, enabled=case["autocast"]):
            said = velocity(made, x, told, context, case["checkpointing"])
        value = loss(said, target(clean, noise), sigma, "official", SHIFT)
        value.backward()
    return value.item(), said.detach(), {key: parameter.grad for key, parameter in parameters.items()}


def gradients_of(stored, name):
    prefix = f"{name}/grad/"
    return {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", [name for name, case in ABOUT["cases"].items() if case["dtype"] == "float32"])
def test_loss_velocity_and_gradients_are_the_official_ones(stored, name):
    sigma = level_grid(SHIFT)[stored[f"{name}/timestep_id"]]
    assert torch.allclose(sigma, stored[f"{name}/sigma"], atol=1e-7)
    value, said, found = step(stored, name, sigma, sigma)
    assert value == pytest.approx(ABOUT["cases"][name]["loss"], abs=1e-5)
    assert (said - stored[f"{name}/prediction"]).abs().max() < 1e-4
    expected = gradients_of(stored, name)
    assert len(expected) == 10 and max((found[key] - expected[key]).abs().max() for key in expected) < 1e-5
    norm = torch.stack([gradient.norm() for gradient in found.values()]).norm().item()
    assert norm == pytest.approx(ABOUT["cases"][name]["grad_norm"], rel=1e-4)
    assert gaussian_weight(sigma, SHIFT).mean().item() == pytest.approx(ABOUT["cases"][name]["weight"], abs=1e-5)


def test_in_bf16_they_are_the_official_ones_with_the_official_rounding_of_levels(stored):
    """There the network is told a rounded level, and noise and weights take the level of the grid that is nearest to it."""
    seen, grid = stored["bf16/timestep_seen"], level_grid(SHIFT)
    sigma = grid[(grid[None, :] - seen[0, :, None] / 1000).abs().argmin(1)][None]
    value, _, found = step(stored, "bf16", sigma, seen / 1000, torch.bfloat16)
    assert value == pytest.approx(ABOUT["cases"]["bf16"]["loss"], abs=5e-4)
    expected = gradients_of(stored, "bf16")
    ours, theirs = (torch.cat([gradients[key].flatten() for key in sorted(expected)]) for gradients in (found, expected))
    assert (ours - theirs).abs().max() < 0.015 * theirs.abs().max()
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.9999
