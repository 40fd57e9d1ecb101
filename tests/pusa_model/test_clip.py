"""Clips: what is caught of them while they pass, and sounds laid at their times."""

import math

import pytest
import torch
from pusa.pusa_model.clip import Edge, image_clip, placed_sound
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


def test_looking_reads_no_further_than_needed():
    read = []

    def parts():
        for number in range(5):
            read.append(number)
            yield torch.full((2, 1, 1, 3), float(number))

    edge = Edge("start", 3)
    edge.look(parts())
    assert len(edge.inwards()) == 3 and read == [0, 1]


@pytest.mark.parametrize(
    "images, words",
    [
        (torch.zeros(0, 4, 4, 3), "1 or more"),
        (torch.zeros(4, 4, 3), "1 or more"),
        (torch.zeros(2, 4, 4, 4), "Remove an alpha channel"),
        (torch.full((2, 4, 4, 3), math.nan), "not finite"),
    ],
)
def test_what_is_no_clip_is_refused(images, words):
    with pytest.raises(InputError, match=words):
        image_clip(images, 16)
