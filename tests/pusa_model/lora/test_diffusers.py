"""The per-frame Wan of ComfyUI against another implementation: diffusers with one timestep per token."""

import pytest
import tiny
import torch
from sampled import empty, given, random_frames, run, watch_network

diffusers = pytest.importorskip("diffusers", reason="diffusers is a test extra")

LATENT = empty(6, size=8)


@pytest.fixture(scope="module")
def oracle():
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    network = diffusers.WanTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=128,
        in_channels=16,
        out_channels=16,
        text_dim=tiny.TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=2 * tiny.WIDTH,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
    )
    network.load_state_dict(convert_wan_transformer_to_diffusers(dict(tiny.wan_weights())))
    return network.eval()


@torch.no_grad()
def test_the_network_sees_every_frame_at_its_own_level(wan, oracle, positive, negative):
    """In every step of a real run: what ComfyUI's network is given, diffusers answers the same to 1e-4."""
    seen, answers = [], []
    watch_network(wan, seen)
    forward = wan.model.diffusion_model.forward_orig
    wan.model.diffusion_model.forward_orig = lambda *args, **kwargs: answers.append(forward(*args, **kwargs)) or answers[-1]
    run(wan, positive, negative, LATENT, given(LATENT, "0, 2, 5", "0, 0.3, 0.7"), steps=6)
    assert len(seen) == len(answers) == 6
    for (x, t), answer in zip(seen, answers):
        tokens = t.repeat_interleave(x.shape[-1] * x.shape[-2] // 4, dim=1)
        expected = oracle(x, tokens, positive[0][0], return_dict=False)[0]
        assert t[0].unique().numel() == 4 and (answer - expected).abs().max() < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
def test_random_vectors_of_timesteps(wan, oracle, positive, seed):
    x = random_frames(6, seed=seed, size=8)
    t = 1000 * torch.rand(1, 6, generator=torch.Generator().manual_seed(seed))
    answer = wan.model.diffusion_model(x, t, context=positive[0][0])
    expected = oracle(x, t.repeat_interleave(16, dim=1), positive[0][0], return_dict=False)[0]
    assert (answer - expected).abs().max() < 1e-4
    moved = oracle(x, t.flip(1).repeat_interleave(16, dim=1), positive[0][0], return_dict=False)[0]
    assert (answer - moved).abs().max() > 1e-2, "the answer depends on which frame has which timestep"
