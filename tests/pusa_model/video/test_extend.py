"""Extension: which frames stay, which come, in which order, and what is done again."""

from dataclasses import replace

import comfy.model_management
import folder_paths
import pytest
import tiny
import torch
from comfy.patcher_extension import WrappersMP
from pusa.pusa_model.timeline.encode import encode_tail
from pusa.pusa_model.video.clip import image_clip
from pusa.pusa_model.video.color import ColorMap, cross_fade
from pusa.pusa_model.video.extend import Plan, extend
from pusa.pusa_model.video.window import WindowSampler, padded
from pusa.pusa_model.video.window_store import load_window, window_key
from pusa.schedulers import InputError
from pusa.schedulers.geometry import FACTOR as OWN_FADE

LENGTH, OVERLAP, NEW = 12, 5, 8
DIRECTIONS = ["forwards", "backwards"]


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    with torch.inference_mode():
        yield tmp_path / "temp"


@pytest.fixture
def sampler(wan, vae, negative):
    """Windows of the tiny model, and how often the model was asked, as `calls`."""
    model, calls = wan.clone(), []

    def count(executor, *args, **kwargs):
        calls.append(None)
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "count", count)
    made = WindowSampler(model, vae, negative, "0.0, 0.3", 2, 1.0, 5.0, "euler", "flow_match", warn=lambda text: None)
    object.__setattr__(made, "calls", calls)
    return made


def clip(length=LENGTH, height=48, width=32, rate=16, seed=0):
    return image_clip(torch.rand(length, height, width, 3, generator=torch.Generator().manual_seed(seed)), rate)


def frames_of(clip):
    return torch.cat(list(clip.parts()))


def plan(hops=2, direction="forwards", **changes):
    return Plan(overlap=OVERLAP, new_frames=NEW, hops=hops, direction=direction, seed=7, **changes)


def in_place(joined, given):
    """The frames of a joined video where those of the clip should be."""
    return joined.frames[joined.before : joined.before + given.length]


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_clip_stays_bit_for_bit_and_every_hop_adds_its_frames(sampler, positive, direction, frames_in):
    given = clip()
    joined = extend(given, [positive], sampler, plan(3, direction), frames_in)
    assert joined.frames.shape == (LENGTH + 3 * NEW, 48, 32, 3)
    assert torch.equal(in_place(joined, given), frames_of(given))
    new = joined.frames[LENGTH:] if direction == "forwards" else joined.frames[:-LENGTH]
    assert torch.equal(joined.new_frames, new)
    assert joined.overlap.shape[0] == OVERLAP and 0 <= new.min() and new.max() <= 1


def by_hand(sampler, positive, given, direction="forwards", seeds=(7, 8, 9), color_match=0.0, fade=0):
    """The same window by window: the new frames of each, and between two the four that both have drawn, fading.

    With colours matched both the new frames and those that fade have the colours of what the window was given.
    """
    turned = direction == "backwards"
    frames = frames_of(given).flip(0) if turned else frames_of(given)
    context = frames[-OVERLAP:]
    for hop, seed in enumerate(seeds):
        ends = (None, context.flip(0)) if turned else (context, None)
        window = sampler.draw(positive, seed, OVERLAP + NEW, *ends)
        window = window.flip(0) if turned else window
        if color_match:
            window = ColorMap.between(window[:OVERLAP], context, color_match).apply(window)
        count = max(fade, OWN_FADE) if hop else fade
        if count:
            weight = (torch.arange(1, count + 1) / (count + 1))[:, None, None, None]
            faded = (1 - weight) * frames[-count:] + weight * window[OVERLAP - count : OVERLAP]
            frames = torch.cat([frames[:-count], faded])
        frames = torch.cat([frames, window[OVERLAP:]])
        context = window[-OVERLAP:]
    return frames.flip(0) if turned else frames


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_hop_goes_on_from_the_last_frames(sampler, positive, direction):
    """No frame is missing, none comes twice; between two hops, where no frame is of the clip, one drawing fades into the next."""
    joined = extend(clip(), [positive], sampler, plan(3, direction))
    assert torch.allclose(joined.frames, by_hand(sampler, positive, clip(), direction), atol=1e-6)
    edge = frames_of(clip())[-OVERLAP:] if direction == "forwards" else frames_of(clip())[:OVERLAP]
    ends = (edge, None) if direction == "forwards" else (None, edge)
    window = sampler.draw(positive, 7, OVERLAP + NEW, *ends)
    assert torch.equal(joined.overlap, window[:OVERLAP] if direction == "forwards" else window[-OVERLAP:])


@pytest.mark.parametrize(
    "changes, faded",
    [
        ({}, (0, 4, 4)),
        ({"overlap": 1}, (0, 0, 0)),
        ({"overlap": 9, "new_frames": 4}, (0, 4, 4)),
        ({"cross_fade": 2}, (2, 4, 4)),
        ({"overlap": 13, "cross_fade": 13}, (13, 13, 13)),
    ],
)
def test_what_fades_at_the_joins(changes, faded):
    """At the first only what was asked for, and never a frame of the clip; at the others at least one latent, and never all."""
    made = Plan(**({"overlap": OVERLAP, "new_frames": NEW, "hops": 3} | changes))
    assert tuple(map(made.fade, range(3))) == faded


def test_a_fade_over_the_whole_overlap(sampler, positive):
    given = clip()
    joined = extend(given, [positive], sampler, plan(1, cross_fade=OVERLAP))
    window = sampler.draw(positive, 7, OVERLAP + NEW, frames_of(given)[-OVERLAP:], None)
    assert torch.equal(joined.frames[: LENGTH - OVERLAP], frames_of(given)[:-OVERLAP])
    faded = cross_fade(frames_of(given)[-OVERLAP:], window[:OVERLAP])
    assert torch.equal(joined.frames[LENGTH - OVERLAP :], torch.cat([faded, window[OVERLAP:]]))


def test_the_noise_rises_towards_the_new_frames(sampler, positive):
    """0 at the outer end: that latent of the window is the encoded clip, bit for bit, in both directions."""
    given, sampler = frames_of(clip()), replace(sampler, noise="0.0, 0.5", warn=print)
    for before, after, clean in ((given[-9:], None, 0), (None, given[:9], -1)):
        sampler.draw(positive, 7, 17, before, after)
        key = window_key(positive=positive, seed=7, length=17, before=before, after=after, **sampler._inputs())
        latent = load_window(key)
        encoded = sampler.vae.encode(before) if after is None else encode_tail(sampler.vae, after)
        given_places = range(3) if after is None else range(3, 5)
        same = [torch.equal(latent[:, :, place], encoded[:, :, index]) for index, place in enumerate(given_places)]
        assert same[clean] and sum(same) == 1


@pytest.mark.parametrize("policy, seeds", [("increment", (7, 8)), ("fixed", (7, 7))])
def test_seeds_of_the_hops(sampler, positive, policy, seeds):
    joined = extend(clip(), [positive], sampler, plan(hop_seed=policy))
    assert torch.allclose(joined.frames, by_hand(sampler, positive, clip(), seeds=seeds), atol=1e-6)


def test_each_hop_takes_its_prompt_and_the_last_one_goes_on(sampler, positive):
    other = tiny.prompt(9)
    each = extend(clip(), [positive, other], sampler, plan(3)).frames
    same = extend(clip(), [positive, other, other], sampler, plan(3)).frames
    one = extend(clip(), [positive], sampler, plan(3)).frames
    assert torch.equal(each, same)
    kept = LENGTH + NEW - OWN_FADE
    assert torch.equal(each[:kept], one[:kept]) and not torch.equal(each, one)


def test_only_what_follows_a_changed_prompt_is_sampled_again(sampler, positive):
    prompts = [positive, positive, positive, positive]
    first = extend(clip(), prompts, sampler, plan(4)).frames
    one_hop = len(sampler.calls) // 4
    assert one_hop > 0
    sampler.calls.clear()
    assert torch.equal(extend(clip(), prompts, sampler, plan(4)).frames, first)
    assert not sampler.calls
    prompts[2] = tiny.prompt(9)
    changed = extend(clip(), prompts, sampler, plan(4)).frames
    assert len(sampler.calls) == 2 * one_hop
    kept = LENGTH + 2 * NEW - OWN_FADE
    assert torch.equal(changed[:kept], first[:kept]) and not torch.equal(changed[kept:], first[kept:])


def test_another_model_is_another_window(sampler, positive, wan):
    first = extend(clip(), [positive], sampler, plan(1)).frames
    sampler.calls.clear()
    assert torch.equal(extend(clip(), [positive], replace(sampler, model=wan), plan(1)).frames, first)
    assert not sampler.calls, "the other model is not the counting one"


def test_cancelling_keeps_the_hops_that_are_done(sampler, positive):
    def cancel(hop):
        comfy.model_management.interrupt_current_processing(hop == 2)

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        extend(clip(), [positive], sampler, plan(4), on_hop=cancel)
    sampler.calls.clear()
    extend(clip(), [positive], sampler, plan(4))
    assert len(sampler.calls) == 2 * sampler.steps, "hops 3 and 4"


def test_a_damaged_stored_window_is_sampled_again(sampler, positive, temp):
    first = extend(clip(), [positive], sampler, plan(1)).frames
    for path in temp.rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    sampler.calls.clear()
    assert torch.equal(extend(clip(), [positive], sampler, plan(1)).frames, first)
    assert sampler.calls


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_colours_are_matched_to_the_overlap(sampler, positive, direction):
    given = clip()
    plain, matched = (extend(given, [positive], sampler, plan(1, direction, color_match=share)) for share in (0.0, 1.0))
    assert torch.equal(in_place(matched, given), frames_of(given))
    edge = frames_of(given)[-OVERLAP:] if direction == "forwards" else frames_of(given)[:OVERLAP]
    expected = ColorMap.between(plain.overlap, edge, 1.0).apply(plain.new_frames)
    assert torch.allclose(matched.new_frames, expected, atol=1e-6) and not torch.equal(expected, plain.new_frames)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("fade", [0, 2])
def test_every_hop_has_its_colours_matched_and_so_have_the_frames_that_fade(sampler, positive, direction, fade):
    joined = extend(clip(), [positive], sampler, plan(3, direction, color_match=0.7, cross_fade=fade))
    wanted = by_hand(sampler, positive, clip(), direction, color_match=0.7, fade=fade)
    assert torch.allclose(joined.frames, wanted, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_cross_fade_touches_its_frames_only(sampler, positive, direction):
    given = clip()
    frames = frames_of(given)
    joined = extend(given, [positive], sampler, plan(1, direction, cross_fade=2))
    kept = in_place(joined, given)
    edge, rest = (slice(-2, None), slice(0, -2)) if direction == "forwards" else (slice(0, 2), slice(2, None))
    assert torch.equal(kept[rest], frames[rest])
    weight = torch.tensor([1 / 3, 2 / 3] if direction == "forwards" else [2 / 3, 1 / 3])[:, None, None, None]
    drawn = joined.overlap[-2:] if direction == "forwards" else joined.overlap[:2]
    assert torch.allclose(kept[edge], torch.lerp(frames[edge], drawn, weight), atol=1e-6)


@pytest.mark.parametrize("height, width", [(39, 51), (16, 17), (17, 16)])
def test_odd_sizes_keep_their_size(sampler, positive, height, width):
    given = clip(height=height, width=width)
    joined = extend(given, [positive], sampler, plan(1))
    assert joined.frames.shape[1:3] == (height, width)
    assert torch.equal(in_place(joined, given), frames_of(given))


def test_padding_repeats_the_border():
    frames = torch.rand(2, 15, 17, 3)
    wide = padded(frames, 16)
    assert wide.shape == (2, 16, 32, 3) and torch.equal(wide[:, :15, :17], frames)
    assert torch.equal(wide[:, 15], wide[:, 14]) and torch.equal(wide[:, :, 31], wide[:, :, 16])


def test_one_frame_is_enough_for_an_overlap_of_one(sampler, positive):
    given = clip(1)
    joined = extend(given, [positive], sampler, Plan(overlap=1, new_frames=8, seed=7))
    assert len(joined.frames) == 9 and torch.equal(joined.frames[:1], frames_of(given))


@pytest.mark.parametrize("method", ["nearest", "blend"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_clip_of_another_rate_goes_to_16_and_back(sampler, positive, direction, method):
    """8 frames of the model are half a second: 12 frames of a clip of 24."""
    given = clip(rate=24)
    joined = extend(given, [positive], sampler, plan(3, direction, resample=method))
    assert len(joined.new_frames) == 3 * 12
    assert len(extend(clip(rate=25), [positive], sampler, plan(3, direction, resample=method)).new_frames) == 37, "3 * 12.5"
    assert torch.equal(in_place(joined, given), frames_of(given))
    inwards = frames_of(given).flip(0) if direction == "forwards" else frames_of(given)
    if method == "nearest":
        context = inwards[[0, 2, 3, 4, 6]].flip(0)  # 0, 1.5, 3, 4.5, 6: halves go to the even frame
    else:
        context = torch.stack([inwards[0], (inwards[1] + inwards[2]) / 2, inwards[3], (inwards[4] + inwards[5]) / 2, inwards[6]])
        context = context.flip(0)
    if direction == "forwards":
        window = sampler.draw(positive, 7, OVERLAP + NEW, context, None)
        assert torch.equal(joined.new_frames[2], window[OVERLAP + 1]), "frame 3 at 24 is frame 2 at 16"
    else:
        window = sampler.draw(positive, 7, OVERLAP + NEW, None, context.flip(0))
        assert torch.equal(joined.new_frames[-3], window[NEW - 2])


def test_a_clip_that_is_too_short_is_told_so(sampler, positive):
    with pytest.raises(InputError, match="the clip has 4 frames, but 5 are needed"):
        extend(clip(4), [positive], sampler, plan())
    with pytest.raises(InputError, match="the clip has 6 frames, but 7 are needed"):
        extend(clip(6, rate=24), [positive], sampler, plan(resample="blend"))
    with pytest.raises(InputError, match="`new_frames` last less than one frame of a clip of 1 frames per second"):
        extend(clip(rate=1), [positive], sampler, plan(1, resample="nearest"))
    assert not sampler.calls


def test_more_prompts_than_hops_are_refused(sampler, positive):
    with pytest.raises(InputError, match="3 prompts are connected for 2 hops"):
        extend(clip(), [positive] * 3, sampler, plan())
