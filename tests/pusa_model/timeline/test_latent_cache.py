"""The VAE runs once for the same frames: other noise, positions or nodes find its latents again."""

import gc
import weakref

import comfy.sd
import pytest
import tiny
import torch
from pusa.pusa_model.timeline import placing as timeline
from pusa.pusa_model.timeline.latent_cache import LatentCache

LATENT = torch.zeros(1, 16, 5, 4, 4)


@pytest.fixture
def vae():
    """A VAE that nothing has used, which counts how often it encodes."""

    class Counting(comfy.sd.VAE):
        runs = 0

        def encode(self, *args, **kwargs):
            self.runs += 1
            return super().encode(*args, **kwargs)

    return Counting(sd=tiny.vae_weights(), dtype=torch.float32)


def pictures(count=1, seed=0):
    return torch.rand(count, 32, 32, 3, generator=tiny.seeded(seed))


def place(vae, images, positions="0, 4, last", noise="0", fit="crop", mode="causal"):
    return timeline.keyframes(vae, LATENT, {"image": images}, positions, "frame", noise, fit, mode)


@pytest.mark.parametrize("change", [{"noise": "0.3"}, {"noise": "0.1..0.5"}, {"positions": "0, 8, 12"}, {"fit": "stretch"}])
def test_other_noise_and_positions_run_no_vae(vae, change):
    images = pictures(3)
    first = place(vae, images)
    runs = vae.runs
    assert runs == 3
    again = place(vae, images.clone(), **change)
    assert vae.runs == runs
    assert torch.equal(again.frames, first.frames)


@pytest.mark.parametrize("change", [{"mode": "still"}, {"images": pictures(3, seed=1)}])
def test_other_frames_do(vae, change):
    place(vae, pictures(3))
    runs = vae.runs
    place(vae, **({"images": pictures(3)} | change))
    assert vae.runs > runs


def test_a_picture_that_was_changed_in_place_is_another_one(vae):
    images = pictures(3)
    first = place(vae, images)
    images.mul_(0.5)
    assert not torch.equal(place(vae, images).frames, first.frames)


def test_frames_of_another_dtype_are_other_frames(vae):
    cache = LatentCache()
    for dtype in (torch.float32, torch.float16, torch.bfloat16) * 2:
        cache.encode(vae, pictures().to(dtype))
    assert vae.runs == 3


def test_a_clip_is_found_again(vae):
    for noise in ("0", "0.5"):
        timeline.video_frames(vae, LATENT, pictures(9), "end", 9, "start", noise, "crop")
    assert vae.runs == 1


def test_another_vae_and_another_patch_of_it_encode_anew(vae):
    cache = LatentCache()
    cache.encode(vae, pictures())
    other = comfy.sd.VAE(sd=tiny.vae_weights(seed=9), dtype=torch.float32)
    assert not torch.equal(cache.encode(other, pictures()), cache.encode(vae, pictures()))
    assert vae.runs == 1
    vae.patcher = vae.patcher.clone()
    vae.patcher.patches_uuid = "patched"
    cache.encode(vae, pictures())
    assert vae.runs == 2


def test_the_oldest_go_when_there_are_too_many(vae):
    size = 16 * 4 * 4 * 4
    cache = LatentCache(limit=2 * size)
    for seed in (0, 1, 0, 2):  # 1 is the one that was not asked for longest
        cache.encode(vae, pictures(seed=seed))
    assert vae.runs == 3
    cache.encode(vae, pictures(seed=0))
    assert vae.runs == 3
    cache.encode(vae, pictures(seed=1))
    assert vae.runs == 4


def test_a_vae_takes_its_latents_with_it():
    cache = LatentCache()
    vae = comfy.sd.VAE(sd=tiny.vae_weights(), dtype=torch.float32)
    kept = weakref.ref(cache.encode(vae, pictures()))
    assert kept() is not None
    del vae
    gc.collect()
    assert kept() is None


def test_a_latent_above_the_limit_is_given_and_kept_alone(vae):
    cache = LatentCache(limit=1)
    for seed in (0, 0, 1, 1):
        cache.encode(vae, pictures(seed=seed))
    assert vae.runs == 2
