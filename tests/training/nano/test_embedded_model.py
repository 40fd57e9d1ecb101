"""The files of assets/nano do in ComfyUI what they did in training, and what the model card says."""

import comfy.sd
import comfy.utils
import host_comfyui
import pytest
import torch

host_comfyui.load_pack()

from pusa.pusa_model.lora.load import load_lora
from pusa.training.method.lora import add_lora
from pusa.training.method.network import load_base, training_mode, velocity
from pusa.training.method.objective import noised, target
from pusa.training.nano import base, latents, lora, vae, words, world
from pusa.training.nano.quality import evaluate
from pusa.training.nano.ship import FOLDER, PLACES

COUNT = 4


@pytest.fixture(scope="module")
def codec():
    return evaluate.Codec(FOLDER)


@pytest.fixture(scope="module")
def batch(codec):
    """Latents, contexts, noise and levels of some held-out scenes; the first frame is clean, as in image-to-video."""
    generator = torch.Generator().manual_seed(0)
    scenes = [world.scene(seed, "held-out") for seed in range(COUNT)]
    clean = latents.encode_scenes(codec.network, range(COUNT), "held-out", torch.float32).float()
    sigma = torch.full((COUNT, 9), 0.8)
    sigma[:, 0] = 0
    return (
        clean,
        torch.stack([words.embed(scene.caption) for scene in scenes]),
        torch.randn(clean.shape, generator=generator),
        sigma,
    )


def error(network, batch) -> float:
    clean, context, noise, sigma = batch
    with torch.no_grad():
        predicted = velocity(network, noised(clean, noise, sigma), sigma, context)
    return (predicted - target(clean, noise))[:, :, 1:].square().mean().item()


def test_comfyui_reads_the_shape_from_the_file():
    model = comfy.sd.load_diffusion_model(str(FOLDER / PLACES["base"]))
    network = model.model.diffusion_model
    assert network.num_heads == base.TOLD["num_heads"]
    assert network.text_embedding[0].in_features == words.WIDTH
    assert len(network.blocks) == base.SHAPE["num_layers"]


def test_the_vae_reconstructs_what_it_has_not_seen(codec):
    assert vae.reconstruction(codec.network, COUNT).mean() > 30


def test_the_lora_predicts_better_where_frames_have_levels_of_their_own(batch):
    without = evaluate.Model(FOLDER).model
    patched = evaluate.Model(FOLDER, strength=1.0).model
    patched.patch_model()
    assert error(patched.model.diffusion_model, batch) < 0.98 * error(without.model.diffusion_model, batch)


def test_the_lora_in_comfyui_is_the_lora_of_the_trainer(batch):
    """PusaLoraLoader's patch and the trainer's own layers give the same velocity, so the same evaluation."""
    clean, context, noise, sigma = batch
    trained = load_base(FOLDER / PLACES["base"]).network.float()
    add_lora(trained, lora.RANK)
    stored = comfy.utils.load_torch_file(str(FOLDER / PLACES["lora"]))
    parameters = dict(trained.named_parameters())
    for name, value in stored.items():
        parameters[name.removeprefix("diffusion_model.")].data.copy_(value)
    patched = evaluate.Model(FOLDER, strength=1.0).model
    patched.patch_model()
    with torch.no_grad(), training_mode():
        ours = velocity(trained, noised(clean, noise, sigma), sigma, context)
    with torch.no_grad():
        theirs = velocity(patched.model.diffusion_model, noised(clean, noise, sigma), sigma, context)
    torch.testing.assert_close(theirs, ours, atol=2e-4, rtol=2e-4)


def test_a_stronger_lora_is_a_linear_step_further(batch):
    """Strength multiplies the update: the weights at 1.4 lie 1.4 times as far from the base as those at 1."""
    weights = []
    for strength in (0.0, 1.0, 1.4):
        model = evaluate.Model(FOLDER, strength).model
        model.patch_model()
        weights.append(model.model.diffusion_model.blocks[0].self_attn.q.weight.detach().clone())
    torch.testing.assert_close(weights[2] - weights[0], 1.4 * (weights[1] - weights[0]), atol=1e-6, rtol=1e-4)


def test_a_given_picture_stays_and_its_thing_too(codec):
    """Image to video on combinations that were never trained: the first latent to the bit, and the thing it shows."""
    task = evaluate.Task(codec, COUNT, things=1)
    conditions = task.keyframes([0], [0.0], "still")
    made = evaluate.Model(FOLDER, strength=1.4).clips(task.scenes, conditions, evaluate.Setting())
    assert torch.equal(made[:, :, :1], conditions(range(COUNT)).frames)
    shares = evaluate.agreement(task.scenes, codec.decode(made))
    assert min(shares["colour"], shares["shape"]) >= 0.85


def test_load_lora_is_what_the_node_calls():
    model = comfy.sd.load_diffusion_model(str(FOLDER / PLACES["base"]))
    patched = load_lora(model, str(FOLDER / PLACES["lora"]), 1.4)
    assert len(patched.patches) == 10 * base.SHAPE["num_layers"]
