"""Mochi's VAE: an encoder that looks back in time alone, on a copy, and halves that are refused."""

import mochi
import pytest
import tiny
import torch
from pusa.nodes import PusaKeyframes, PusaVideoFrames
from pusa.pusa_model.families.lookup import of_vae
from pusa.pusa_model.families.mochi_vae import causal_copy, check_half
from pusa.pusa_model.families.table import MOCHI
from pusa.pusa_model.timeline.encode import encode_clip, encode_tail, vae_factor
from pusa.schedulers import InputError

SIZE = 32
LATENT = {"samples": torch.zeros(1, 12, 5, SIZE // 8, SIZE // 8)}


def clip(frames, size=SIZE, seed=3):
    return torch.rand(frames, size, size, 3, generator=tiny.seeded(seed))


@pytest.fixture(scope="module")
def vae():
    return mochi.vae()


@pytest.mark.parametrize("small", [True, False], ids=["small", "whole"])
def test_prefixes_of_a_clip_give_its_first_latents(small):
    """1, 7, 13 and 19 of 25 frames; ComfyUI's own encoder gives others, which a picture alone does not show."""
    size = 16
    vae = mochi.vae(small)
    frames = clip(25, size)
    whole, stock = encode_clip(vae, frames), vae.encode(frames)
    assert whole.shape == (1, 12, 5, size // 8, size // 8)
    for count in (1, 7, 13, 19):
        part = encode_clip(vae, frames[:count])
        assert (whole[:, :, : part.shape[2]] - part).abs().max() < 1e-5 * whole.abs().max()
    assert (stock - whole).abs().max() > 1e-2 * whole.abs().max()
    picture = encode_clip(vae, frames[:1])
    assert (vae.encode(frames[:1]) - picture).abs().max() < 1e-5 * picture.abs().max()


def test_the_vae_itself_stays_as_it_is(vae):
    frames, latent = clip(13), torch.randn(1, 12, 3, 4, 4, generator=tiny.seeded(1))
    before, pictures = vae.encode(frames), vae.decode(latent)
    ours = causal_copy(vae).encode(frames)
    assert not torch.equal(ours, before)
    assert torch.equal(vae.encode(frames), before) and torch.equal(vae.decode(latent), pictures)
    assert not vae.patcher.object_patches


def test_what_is_asked_of_the_vae():
    vae = mochi.vae()
    assert of_vae(vae) is MOCHI and vae_factor(vae) == 6


@pytest.mark.parametrize("kept", ["encoder", "decoder"])
def test_half_a_file_is_refused_where_the_other_half_is_needed(kept):
    missing = {"encoder": "decoder", "decoder": "encoder"}[kept]
    weights = {key: value for key, value in mochi.vae_weights().items() if key.startswith(kept)}
    vae = mochi.vae(weights=weights)
    check_half(vae, kept)
    with pytest.raises(InputError, match=f"holds no {missing}.*each one half"):
        check_half(vae, missing)
    if missing == "encoder":
        with pytest.raises(InputError, match="holds no encoder"):
            encode_clip(vae, clip(1))


def test_keyframes_and_clips_count_in_sixes(vae):
    """A still is encoded alone, a causal picture behind a primer as a group of six; a clip of 19 frames is four latents."""
    still, moving = (
        PusaKeyframes.execute(vae, LATENT, {"image0": clip(1)}, "12", "frame", "0.4", "crop", encode)[0]
        for encode in ("still", "causal")
    )
    assert still.positions == moving.positions == (2,) and still.factor == 6
    assert torch.equal(still.frames, encode_clip(vae, clip(1)))
    assert torch.equal(moving.frames, encode_clip(vae, clip(1).expand(7, -1, -1, -1))[:, :, 1:])
    frames = clip(25)
    start = PusaVideoFrames.execute(vae, LATENT, frames, "start", 19, "start", "0.1, 0.3, 0.3, 0.3", "crop")[0]
    assert start.positions == (0, 1, 2, 3) and torch.equal(start.frames, encode_clip(vae, frames[:19]))
    end = PusaVideoFrames.execute(vae, LATENT, frames, "end", 13, "end", "0.3", "crop")[0]
    assert end.positions == (3, 4) and torch.equal(end.frames, encode_tail(vae, frames[-13:]))
    with pytest.raises(ValueError, match="6n"):
        PusaVideoFrames.execute(vae, LATENT, frames, "end", 9, "end", "0.3", "crop")
