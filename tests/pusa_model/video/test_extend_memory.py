"""Extension holds one window at a time, however many hops there are."""

import weakref

import folder_paths
import pytest
import torch
from pusa.pusa_model.video.clip import image_clip
from pusa.pusa_model.video.extend import Plan, extend
from pusa.pusa_model.video.window import WindowSampler


@pytest.fixture
def watched(wan, vae, negative, tmp_path, monkeypatch):
    """A sampler whose windows must be gone when it draws the next one; they are counted as `seen`."""
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    sampler = WindowSampler(wan, vae, negative, "0", 1, 1.0, 5.0, "euler", "flow_match", warn=lambda text: None)
    draw, windows = sampler.draw, []

    def watch(*arguments):
        assert all(window() is None for window in windows)
        pixels = draw(*arguments).numpy().copy()
        windows.append(weakref.ref(pixels))
        return torch.from_numpy(pixels)

    object.__setattr__(sampler, "draw", watch)
    object.__setattr__(sampler, "seen", windows)
    return sampler


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
@pytest.mark.parametrize("changes", [{}, {"color_match": 1.0, "cross_fade": 4}])
def test_a_window_is_gone_before_the_next_one_comes(watched, positive, direction, changes):
    with torch.inference_mode():
        clip = image_clip(torch.rand(9, 48, 32, 3, generator=torch.Generator().manual_seed(0)), 16)
        joined = extend(clip, [positive], watched, Plan(5, 8, hops=3, direction=direction, **changes))
    assert len(watched.seen) == 3 and all(window() is None for window in watched.seen)
    assert joined.overlap.untyped_storage().nbytes() == joined.overlap.nbytes
