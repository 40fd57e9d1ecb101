"""Mochi in Extend Video and Transition: counts in sixes, given frames bit for bit, tiles where a clip does not fit."""

import folder_paths
import mochi
import pytest
import tiny
import torch
from pusa.nodes import PusaExtendVideo, PusaTransition

SETTINGS = {
    "steps": 2,
    "cfg": 1.0,
    "shift": 5.0,
    "sampler_name": "euler",
    "scheduler": "linear_quadratic",
    "seed": 1,
    "noise": "0.1",
}
ENDS = {"color_match": 0.0, "cross_fade": 0, "fps": 30.0, "resample": "keep", "frames_in": "memory"}


@pytest.fixture(scope="module")
def model():
    return mochi.model()


@pytest.fixture(scope="module")
def vae():
    return mochi.vae()


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    with torch.inference_mode():
        yield


def pictures(count, height=32, width=48, seed=0):
    return torch.rand(count, height, width, 3, generator=tiny.seeded(seed))


def extended(model, vae, video, **changes):
    given = {"overlap": 7, "new_frames": 6, "hops": 2, "direction": "forwards", "hop_seed": "increment"} | SETTINGS | ENDS
    prompts = {"prompt0": mochi.random_prompt()}
    return PusaExtendVideo.execute(model, vae, video, prompts, mochi.empty_prompt(), **given | changes).result


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_clip_is_extended_and_stays_bit_for_bit(model, vae, direction):
    video = pictures(9, 30, 41)
    joined, new, *_ = extended(model, vae, video, direction=direction)
    assert joined.shape == (9 + 12, 30, 41, 3) and new.isfinite().all()
    assert torch.equal(joined[:9] if direction == "forwards" else joined[-9:], video)


@pytest.mark.parametrize("loop", [False, True])
def test_a_transition_keeps_its_clips(model, vae, loop):
    first, second = pictures(9), pictures(8, seed=1)
    given = {"overlap": 7, "new_frames": 5, "video_after": None if loop else second} | SETTINGS | ENDS
    joined = PusaTransition.execute(model, vae, first, mochi.random_prompt(), mochi.empty_prompt(), **given).result[0]
    assert torch.equal(joined[:9], first) and len(joined) == 9 + 5 + (0 if loop else 8)
    assert loop or torch.equal(joined[-8:], second)


def test_counts_of_other_families_are_told(model, vae):
    with pytest.raises(ValueError, match="`overlap`.*6n \\+ 1|6n"):
        extended(model, vae, pictures(13), overlap=13 - 4)
    with pytest.raises(ValueError, match="multiple of 6"):
        extended(model, vae, pictures(13), new_frames=8)


def test_a_clip_that_takes_more_memory_than_there_is_is_decoded_in_tiles(model):
    """Given frames stay bit for bit; the new ones are those of the tiles."""
    vae = mochi.vae()
    video, sizes, decode = pictures(7, 64, 320), [], vae.decode_tiled
    whole = extended(model, vae, video, hops=1)[0]
    vae.memory_used_decode = lambda shape, dtype: 10**15
    vae.decode_tiled = lambda samples, **tiles: sizes.append(tiles) or decode(samples, **tiles)
    joined = extended(model, vae, video, hops=1)[0]
    assert torch.equal(joined[:7], video) and joined.shape == whole.shape and joined.isfinite().all()
    assert sizes == [{"tile_x": 32, "tile_y": 32, "overlap": 8, "tile_t": 10, "overlap_t": 4}]


def test_half_a_vae_is_refused_before_anything_is_sampled(model):
    weights = {key: value for key, value in mochi.vae_weights().items() if key.startswith("encoder")}
    with pytest.raises(ValueError, match="holds no decoder"):
        extended(model, mochi.vae(weights=weights), pictures(13))
