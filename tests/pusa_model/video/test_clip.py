"""Clips: what is caught of them while they pass, and sounds laid at their times."""

import math
from fractions import Fraction

import pytest
import torch
from pusa.pusa_model.video.clip import PART, Edge, clip_rate, image_clip, placed_sound
from pusa.schedulers import InputError


def test_two_sounds_are_laid_at_their_times():
    low = {"waveform": torch.full((1, 1, 8000), 0.5), "sample_rate": 8000}
    stereo = {"waveform": torch.full((1, 2, 16000), 0.25), "sample_rate": 16000}
    sound = placed_sound([(low, 0.0), (stereo, 2.0)], 3.0)
    assert sound["sample_rate"] == 8000 and sound["waveform"].shape == (1, 2, 24000)
    assert (sound["waveform"][..., :8000] == 0.5).all() and not sound["waveform"][..., 8000:16000].any()
    assert sound["waveform"][..., 17000:23000].mean() == pytest.approx(0.25, abs=0.01)


def test_sound_longer_than_the_video_ends_with_it():
    sound = placed_sound([({"waveform": torch.ones(1, 1, 30000), "sample_rate": 8000}, 1.0)], 3.0)
    assert sound["waveform"].shape[-1] == 24000 and sound["waveform"].sum() == 16000


def test_edges_are_caught_while_frames_pass():
    frames = torch.arange(10.0)[:, None, None, None].expand(10, 1, 1, 3)
    parts = [frames[:4], frames[4:5], frames[5:]]
    for count in (1, 3, 5, 10):
        start, end = Edge("start", count), Edge("end", count)
        assert torch.equal(torch.cat(list(end.watch(start.watch(iter(parts))))), frames)
        assert torch.equal(start.inwards(), frames[:count])
        assert torch.equal(end.inwards(), frames[10 - count :].flip(0))


@pytest.mark.parametrize("end", ["start", "end"])
def test_an_edge_holds_no_more_of_a_clip_than_it_needs(end):
    edge = Edge(end, 5)
    for part in edge.watch(torch.zeros(4, 1, 1, 3) for _ in range(100)):
        assert sum(map(len, edge._parts)) < 5 + len(part)


def tone(rate, pitch, seconds=1):
    return {"waveform": (torch.arange(rate * seconds) * 2 * math.pi * pitch / rate).sin()[None, None], "sample_rate": rate}


def test_a_second_sound_keeps_its_pitch_and_length_at_the_rate_of_the_first():
    sound = placed_sound([(tone(8000, 100), 0.0), (tone(16000, 440), 1.5)], 3.0)["waveform"][0, 0]
    assert not sound[8000:11990].any() and not sound[20010:].any(), "as long as it was"
    crossings = (sound[12000:20000].sign().diff() != 0).sum()
    assert crossings == pytest.approx(2 * 440, abs=4), "as high as it was"
    middle, wanted = sound[12400:19600], tone(8000, 440)["waveform"][0, 0, 400:7600]
    assert (middle - wanted).abs().max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_sound_in_another_precision(dtype):
    audio = tone(8000, 100)
    other = {"waveform": audio["waveform"].to(dtype), "sample_rate": 8000}
    whole, found = (placed_sound([(sound, 0.5)], 2.0)["waveform"] for sound in (audio, other))
    assert found.dtype == torch.float32 and torch.allclose(found, whole, atol=1e-3)


@pytest.mark.parametrize(
    "images, words",
    [
        (torch.zeros(0, 4, 4, 3), "1 or more"),
        (torch.zeros(4, 4, 3), "1 or more"),
        (torch.zeros(2, 4, 4, 4), "Remove an alpha channel"),
        (torch.zeros(2, 0, 4, 3), r"`clip` has the shape \(2, 0, 4, 3\)"),
    ],
)
def test_what_is_no_clip_is_refused(images, words):
    with pytest.raises(InputError, match=words):
        image_clip(images, 16, "clip")


@pytest.mark.parametrize("rate", [0, 0.0, -1, math.nan, math.inf, Fraction(0), Fraction(-24)])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="the frame rate is .*; it must be a number above 0"):
        clip_rate(rate)
    with pytest.raises(InputError, match="must be a number above 0"):
        image_clip(torch.zeros(1, 4, 4, 3), rate)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("number", [0, PART, 2 * PART + 3])
def test_every_frame_is_finite_or_refused_by_its_number(value, number):
    images = torch.rand(2 * PART + 4, 4, 5, 3)
    images[number, 3, 4, 2] = value
    with pytest.raises(InputError, match=f"`video_after`: frame {number} holds values that are not finite"):
        list(image_clip(images, 16, "video_after").parts())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_frames_of_any_precision_are_those_of_float32(dtype):
    images = torch.rand(2 * PART + 1, 4, 5, 3).to(dtype)
    found = torch.cat(list(image_clip(images, 16).parts()))
    assert found.dtype == torch.float32 and torch.equal(found, images.float())


def test_frames_of_float32_are_not_copied():
    images = torch.rand(3, 4, 5, 3)
    (part,) = image_clip(images, 16).parts()
    assert part.data_ptr() == images.data_ptr()
