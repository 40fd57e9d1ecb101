"""Transitions and loops: both ends stay, what is between comes from one window, and neither end leaks into the other."""

import folder_paths
import pytest
import torch
from pusa.pusa_model.timeline.encode import encode_clip, encode_tail
from pusa.pusa_model.video.clip import PART, image_clip
from pusa.pusa_model.video.color import ColorMap
from pusa.pusa_model.video.transition import transition
from pusa.pusa_model.video.window import WindowSampler
from pusa.pusa_model.video.window_store import load_window, window_key
from pusa.schedulers import InputError

OVERLAP, NEW = 5, 7
SETTINGS = {"overlap": OVERLAP, "new_frames": NEW, "seed": 3}


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    with torch.inference_mode():
        yield


@pytest.fixture
def sampler(wan, vae, negative):
    return WindowSampler(wan, vae, negative, "0", 2, 1.0, 5.0, "euler", "flow_match", warn=lambda text: None)


def frames(length, seed, height=32, width=48):
    return torch.rand(length, height, width, 3, generator=torch.Generator().manual_seed(seed))


FIRST, SECOND = frames(9, 0), frames(6, 1)


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_both_clips_stay_bit_for_bit(sampler, positive, frames_in):
    joined = transition(image_clip(FIRST, 16), image_clip(SECOND, 16), positive, sampler, frames_in=frames_in, **SETTINGS)
    assert len(joined.frames) == 9 + NEW + 6
    assert torch.equal(joined.frames[:9], FIRST) and torch.equal(joined.frames[-6:], SECOND)
    window = sampler.draw(positive, 3, 2 * OVERLAP + NEW, FIRST[-OVERLAP:], SECOND[:OVERLAP])
    assert torch.equal(joined.new_frames, window[OVERLAP : OVERLAP + NEW])
    assert torch.equal(joined.frames[9 : 9 + NEW], joined.new_frames)
    assert torch.equal(joined.overlap, window[:OVERLAP])


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_a_loop_leads_back_to_its_first_frame_and_does_not_repeat_it(sampler, positive, frames_in):
    joined = transition(image_clip(FIRST, 16), None, positive, sampler, frames_in=frames_in, **SETTINGS)
    assert len(joined.frames) == 9 + NEW and torch.equal(joined.frames[:9], FIRST)
    window = sampler.draw(positive, 3, 2 * OVERLAP + NEW, FIRST[-OVERLAP:], FIRST[:OVERLAP])
    assert torch.equal(joined.frames[9:], window[OVERLAP : OVERLAP + NEW])


def test_neither_end_leaks_into_the_other(sampler, positive):
    """The latents at the ends are those of the ends alone, bit for bit."""
    transition(image_clip(FIRST, 16), image_clip(SECOND, 16), positive, sampler, **SETTINGS)
    given = {"before": FIRST[-OVERLAP:], "after": SECOND[:OVERLAP]}
    latent = load_window(window_key(positive=positive, seed=3, length=17, **given, **sampler._inputs()))
    assert torch.equal(latent[:, :, :2], encode_clip(sampler.vae, given["before"]))
    assert torch.equal(latent[:, :, 4:], encode_tail(sampler.vae, given["after"]))


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_colours_and_fades_go_from_one_end_to_the_other(sampler, positive, loop, share):
    """Frames fade from those of the first clip into the drawn ones, and from drawn ones into those of the second.

    The drawn ones have the colours of the clip that they are of, and those between go from the one to the other.
    """
    first, second = 0.3 * FIRST, 0.5 + 0.5 * SECOND
    joined = transition(
        image_clip(first, 16), None if loop else image_clip(second, 16), positive, sampler, color_match=share, fade=2, **SETTINGS
    )
    before, behind = first[-OVERLAP:], (first if loop else second)[:OVERLAP]
    window = sampler.draw(positive, 3, 2 * OVERLAP + NEW, before, behind)
    drawn, new, drawn_behind = window.split([OVERLAP, NEW, OVERLAP])
    assert torch.equal(joined.overlap, drawn), "as it was drawn"
    if share:
        colors, colors_behind = (ColorMap.between(drawn, before, share), ColorMap.between(drawn_behind, behind, share))
        steps = [number / (NEW + 1) for number in range(1, NEW + 1)]
        new = torch.stack(
            [
                (frame * torch.lerp(colors.scale, colors_behind.scale, step) + torch.lerp(colors.shift, colors_behind.shift, step))
                for frame, step in zip(new, steps)
            ]
        ).clamp(0, 1)
        drawn, drawn_behind = colors.apply(drawn), colors_behind.apply(drawn_behind)
    weight = torch.tensor([1 / 3, 2 / 3])[:, None, None, None]
    leaving = (1 - weight) * before[-2:] + weight * drawn[-2:]
    arriving = (1 - weight) * drawn_behind[:2] + weight * behind[:2]
    wanted = [arriving, first[2:-2], leaving, new] if loop else [first[:-2], leaving, new, arriving, second[2:]]
    assert torch.allclose(joined.frames, torch.cat(wanted), atol=1e-6)
    assert torch.equal(joined.new_frames, joined.frames[9 : 9 + NEW])
    assert loop or joined.arrival == 9 + NEW


@pytest.mark.parametrize(
    "second, changes, words",
    [
        (frames(6, 1, width=32), {}, "the first clip has 48 x 32 pixels at 16 frames per second, the second 32 x 32 pixels"),
        (SECOND, {"new_frames": 8}, "`new_frames` is 8; between two clips there are 4n - 1"),
        (SECOND, {"overlap": 1}, "`overlap` is 1; before a clip 5 or more"),
        (SECOND, {"overlap": 9}, "the clip has 6 frames, but 9 are needed"),
        (SECOND, {"fade": 6}, "`cross_fade` is 6; it takes 0 to `overlap`"),
        (SECOND, {"fade": 2, "resample": "blend"}, "`cross_fade` needs `resample` keep"),
        (SECOND, {"resample": "cubic"}, "`resample` is `cubic`; use keep, nearest, blend"),
    ],
)
def test_what_cannot_be_joined_is_refused(sampler, positive, second, changes, words):
    with pytest.raises(InputError, match=words):
        transition(image_clip(FIRST, 16), image_clip(second, 16), positive, sampler, **(SETTINGS | changes))


def test_another_rate_is_refused(sampler, positive):
    with pytest.raises(InputError, match="the second 48 x 32 pixels at 24 frames per second"):
        transition(image_clip(FIRST, 16), image_clip(SECOND, 24), positive, sampler, **SETTINGS)


@pytest.mark.parametrize("method", ["nearest", "blend"])
@pytest.mark.parametrize("loop", [False, True])
def test_clips_of_another_rate_go_to_16_and_back(sampler, positive, method, loop):
    """7 frames between, at 16 frames per second, are half a second: 11 frames between at 24."""
    second = FIRST if loop else frames(8, 1)
    joined = transition(
        image_clip(FIRST, 24), None if loop else image_clip(second, 24), positive, sampler, resample=method, **SETTINGS
    )
    assert len(joined.new_frames) == 11 and len(joined.frames) == 9 + 11 + (0 if loop else 8)
    assert torch.equal(joined.frames[:9], FIRST) and torch.equal(joined.frames[9:20], joined.new_frames)
    assert loop or torch.equal(joined.frames[20:], second)

    def at_16(inwards):
        if method == "nearest":
            return inwards[[0, 2, 3, 4, 6]]  # 0, 1.5, 3, 4.5, 6: halves go to the even frame
        return torch.stack([inwards[0], (inwards[1] + inwards[2]) / 2, inwards[3], (inwards[4] + inwards[5]) / 2, inwards[6]])

    before, behind = at_16(FIRST.flip(0)).flip(0), at_16(second)
    window = sampler.draw(positive, 3, 2 * OVERLAP + NEW, before, behind)
    assert torch.equal(joined.new_frames[[2, 5, 8]], window[OVERLAP:][[1, 3, 5]]), "every third frame at 24 is a second one at 16"
    last = window[OVERLAP + NEW - 1]
    wanted = last if method == "nearest" else (2 * last + behind[0]) / 3
    assert torch.allclose(joined.new_frames[10], wanted), "frame 11 of 12 lies at 7 1/3 of 8"


def test_new_frames_that_last_less_than_one_are_refused(sampler, positive):
    with pytest.raises(InputError, match="`new_frames` last less than one frame of a clip of 4 frames per second"):
        transition(image_clip(FIRST, 4), None, positive, sampler, resample="blend", **(SETTINGS | {"new_frames": 3}))


def test_a_long_second_clip_stays_bit_for_bit(sampler, positive):
    second = frames(2 * PART + 3, 2)
    joined = transition(image_clip(FIRST, 16), image_clip(second, 16), positive, sampler, **SETTINGS)
    assert torch.equal(joined.frames[joined.arrival :], second)
