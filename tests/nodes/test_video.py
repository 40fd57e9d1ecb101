"""VIDEO values from real files: frames, rate and sound as ComfyUI reads them, in one piece or in parts, and back to a file."""

from fractions import Fraction

import av
import folder_paths
import numpy
import pytest
import torch
from comfy_api.latest import InputImpl
from pusa.nodes.video import joined_video, uneven, video_clip

SOUND_RATE = 44100


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))


def write_video(path, frames=30, rate=24, times=None, sound=True, codec="libx264", pixels="yuv420p"):
    """A film whose frames and sound differ from moment to moment."""
    draw = numpy.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.time_base = Fraction(1, 1200)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number in range(frames):
            picture = numpy.full((48, 64, 3), number * 255 // frames, numpy.uint8)
            picture[:16] = draw.integers(0, 255, (16, 64, 3))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[number] if times else number * 1200 // rate
            frame.time_base = Fraction(1, 1200)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            wave = numpy.sin(numpy.arange(SOUND_RATE * frames // rate) * 0.05).astype(numpy.float32)[None]
            part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            part.sample_rate, part.pts = SOUND_RATE, 0
            container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return InputImpl.VideoFromFile(str(path))


def no_warning(text):
    raise AssertionError(text)


def frames_of(clip):
    return torch.cat(list(clip.parts()))


@pytest.mark.parametrize("frames, rate", [(30, 24), (240, 16), (131, 30)])
@pytest.mark.parametrize("sound", [True, False])
def test_a_file_in_parts_is_the_file_as_comfyui_reads_it(tmp_path, frames, rate, sound):
    video = write_video(tmp_path / "clip.mp4", frames, rate, sound=sound)
    whole, parts = video_clip(video, "memory", no_warning), video_clip(video, "disk", no_warning)
    assert frames_of(whole).shape[0] == frames == whole.length
    assert torch.equal(frames_of(parts), frames_of(whole))
    assert parts.rate == whole.rate == rate
    assert (parts.height, parts.width) == (whole.height, whole.width) == (48, 64)
    if not sound:
        assert parts.audio is None and whole.audio is None
        return
    assert parts.audio["sample_rate"] == whole.audio["sample_rate"] == SOUND_RATE
    assert torch.equal(parts.audio["waveform"], whole.audio["waveform"])


def test_a_trimmed_file_in_parts_is_the_same_too(tmp_path):
    write_video(tmp_path / "clip.mp4", 240, 16)
    video = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"), start_time=2.5, duration=9.0)
    whole, parts = video_clip(video, "memory", no_warning), video_clip(video, "disk", no_warning)
    assert whole.length == 144
    assert torch.equal(frames_of(parts), frames_of(whole))
    assert abs(parts.audio["waveform"].shape[-1] - whole.audio["waveform"].shape[-1]) <= 1
    length = min(parts.audio["waveform"].shape[-1], whole.audio["waveform"].shape[-1])
    difference = parts.audio["waveform"][..., :length] - whole.audio["waveform"][..., :length]
    assert difference.abs().max() < 1e-3, "a decoder that starts in the middle rounds differently"


def test_a_long_file_is_never_held_as_a_whole(tmp_path):
    video = write_video(tmp_path / "clip.mp4", 240, 16)
    sizes = [len(part) for part in video_clip(video, "disk", no_warning).parts()]
    assert max(sizes) == 64 and sum(sizes) == 240


def test_a_variable_rate_is_told(tmp_path):
    times = [sum(50 + 40 * (step % 3) for step in range(number)) for number in range(20)]
    video, said = write_video(tmp_path / "clip.mp4", 20, 16, times=times, sound=False), []
    assert uneven(video)
    assert frames_of(video_clip(video, "memory", said.append)).shape[0] == 20
    assert "variable frame rate" in said[0]


def test_a_rounded_clock_is_no_variable_rate(tmp_path):
    times = [round(number * 1200 / 23.976) for number in range(20)]
    assert not uneven(write_video(tmp_path / "clip.mp4", 20, 24, times=times, sound=False))


def test_the_sound_stays_where_it_is_through_a_real_file(tmp_path):
    """Extended backwards and forwards, saved as mp4 and read again: rate, number of frames, length and place of the sound."""
    clip = video_clip(write_video(tmp_path / "clip.mp4", 48, 24), "memory", no_warning)
    for before, after in ((0, 36), (36, 0)):
        frames = torch.cat([torch.zeros(before, 48, 64, 3), frames_of(clip), torch.zeros(after, 48, 64, 3)])
        path = tmp_path / f"joined_{before}.mp4"
        joined_video(frames, clip, before).save_to(str(path))
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert video.average_rate == 24 and video.frames == 84
            assert audio.rate == SOUND_RATE
        again = InputImpl.VideoFromFile(str(path)).get_components()
        loud = again.audio["waveform"][0, 0].abs()
        assert len(loud) / SOUND_RATE == pytest.approx(84 / 24, abs=0.05)
        windows = loud[: SOUND_RATE * 3].reshape(-1, SOUND_RATE // 10).mean(1) > 0.1  # every tenth of a second
        expected = [before / 24 <= tenth / 10 < before / 24 + 2 for tenth in range(30)]
        wrong = sum(found != wanted for found, wanted in zip(windows.tolist(), expected))
        assert wrong <= 1, windows


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_an_alpha_channel_of_a_file_is_told(tmp_path, frames_in):
    video = write_video(tmp_path / "clip.mov", 4, 16, sound=False, codec="png", pixels="rgba")
    said = []
    clip = video_clip(video, frames_in, said.append)
    assert frames_of(clip).shape == (4, 48, 64, 3)
    assert ["alpha" in text for text in said] == [True]
