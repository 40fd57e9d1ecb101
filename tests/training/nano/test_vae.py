"""The whole-clip pass of the VAE is ComfyUI's own, and its statistics become Wan's without a change of what it decodes."""

from dataclasses import replace

import comfy.latent_formats
import host_comfyui
import pytest
import torch

host_comfyui.load_pack()

from pusa.training.nano import causal, vae


@pytest.fixture(scope="module")
def network():
    return vae.new_network(seed=3, width=4).requires_grad_(False)


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 17])
def test_the_whole_clip_at_once_is_what_comfyui_makes_in_pieces(network, frames):
    video = vae.clips(5, 1, frames)
    latent = causal.encode(network, video)
    assert latent.shape == (1, 16, (frames + 3) // 4, 8, 8)
    torch.testing.assert_close(latent, network.encode(video), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(causal.decode(network, latent), network.decode(latent), atol=1e-4, rtol=1e-4)


def test_normalising_gives_the_latents_the_statistics_of_wan_and_changes_no_picture(network):
    video = vae.clips(5, 1, 9)
    before, decoded = causal.encode(network, video), causal.decode(network, causal.encode(network, video))
    changed = vae.new_network(seed=3, width=4).requires_grad_(False)
    changed.load_state_dict(network.state_dict())
    vae.normalise(changed, count=2)
    after = causal.encode(changed, video)
    assert not torch.allclose(before, after, atol=0.1)
    torch.testing.assert_close(causal.decode(changed, after), decoded, atol=1e-4, rtol=1e-3)
    whole = torch.cat([changed.encode(vae.clips(seed, 1, 33)) for seed in range(2)])
    latents = comfy.latent_formats.Wan21().process_in(whole)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-3
    spread = latents.std((0, 2, 3, 4))
    assert spread.max() == pytest.approx(1, abs=1e-3) and spread.min() > 0.01


def test_training_lowers_the_error_and_repeats_itself():
    recipe = vae.Recipe(phases=(vae.Phase(1, 4, 20), vae.Phase(5, 1, 5)), seed=1, dtype=torch.float32)
    lines = []
    first = vae.train(vae.new_network(1, width=4), recipe, lines.append)
    untrained = vae.reconstruction(vae.new_network(1, width=4).requires_grad_(False), 2, frames=5).mean()
    assert vae.reconstruction(first, 2, frames=5).mean() > untrained + 1
    assert lines[0].startswith("step 25/25  5 frames")
    short = replace(recipe, phases=(vae.Phase(1, 1, 1), vae.Phase(5, 1, 1)), dtype=torch.bfloat16)
    one, other = (vae.train(vae.new_network(1, width=4), short, lines.append).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
