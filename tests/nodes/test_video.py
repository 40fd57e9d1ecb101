"""VIDEO values from real files: frames, rate and sound as ComfyUI reads them, in one piece or in parts, and back to a file."""

from fractions import Fraction

import av
import comfy.model_management
import folder_paths
import numpy
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from pusa.nodes.extend import read_clip
from pusa.nodes.shared.video import joined_video, video_clip
from pusa.pusa_model.video.joined import Joined
from pusa.schedulers import InputError

SOUND_RATE = 44100


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))


def write_video(path, frames=30, rate=24, times=None, sound=True, codec="libx264", pixels="yuv420p", size=(64, 48), late=0):
    """A film whose frames and sound differ from moment to moment; the sound begins so many seconds late."""
    draw = numpy.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 1200)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number in range(frames):
            picture = numpy.full((size[1], size[0], 3), number * 255 // frames, numpy.uint8)
            picture[:16] = draw.integers(0, 255, (16, size[0], 3))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[number] if times else number * 1200 // rate
            frame.time_base = Fraction(1, 1200)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            wave = numpy.sin(numpy.arange(SOUND_RATE * frames // rate) * 0.05).astype(numpy.float32)[None]
            part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            part.sample_rate, part.pts = SOUND_RATE, round(SOUND_RATE * late)
            container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return InputImpl.VideoFromFile(str(path))


def no_warning(text):
    raise AssertionError(text)


def frames_of(clip):
    return torch.cat(list(clip.parts()))


@pytest.mark.parametrize("frames, rate", [(30, 24), (240, 16), (131, 30)])
@pytest.mark.parametrize("sound", [True, False])
def test_a_file_is_read_as_comfyui_reads_it(tmp_path, frames, rate, sound):
    video = write_video(tmp_path / "clip.mp4", frames, rate, sound=sound)
    whole = video.get_components()
    for frames_in, length in (("memory", frames), ("disk", 0)):
        clip = video_clip(video, frames_in, no_warning)
        assert torch.equal(frames_of(clip), whole.images) and torch.equal(frames_of(clip), whole.images), "again and again"
        assert (clip.length, clip.rate, clip.height, clip.width) == (length, rate, 48, 64)
        if not sound:
            assert clip.sounds == () and whole.audio is None
            continue
        ((audio, start),) = clip.sounds
        assert audio["sample_rate"] == whole.audio["sample_rate"] == SOUND_RATE and start == 0
        assert torch.equal(audio["waveform"], whole.audio["waveform"])


def test_a_trimmed_file_is_read_as_comfyui_reads_it(tmp_path):
    write_video(tmp_path / "clip.mp4", 240, 16)
    video = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"), start_time=2.5, duration=9.0)
    whole = video.get_components()
    for frames_in in ("memory", "disk"):
        clip = video_clip(video, frames_in, no_warning)
        assert len(whole.images) == 144 and torch.equal(frames_of(clip), whole.images)
        ((audio, start),) = clip.sounds
        assert start == 0 and torch.equal(audio["waveform"], whole.audio["waveform"])


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_cancel_ends_the_reading(tmp_path, frames_in):
    video = write_video(tmp_path / "clip.mp4", 48, 24)
    clip = video_clip(video, "disk", no_warning)
    for read in (lambda: video_clip(video, frames_in, no_warning), lambda: frames_of(clip)):
        comfy.model_management.interrupt_current_processing(True)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            read()


def test_a_variable_rate_is_told(tmp_path):
    times = [sum(50 + 40 * (step % 3) for step in range(number)) for number in range(20)]
    video, said = write_video(tmp_path / "clip.mp4", 20, 16, times=times, sound=False), []
    assert frames_of(video_clip(video, "memory", said.append)).shape[0] == 20
    assert "variable frame rate" in said[0]


def test_a_rounded_clock_is_no_variable_rate(tmp_path):
    times = [round(number * 1200 / 23.976) for number in range(20)]
    video_clip(write_video(tmp_path / "clip.mp4", 20, 24, times=times, sound=False), "memory", no_warning)


@pytest.mark.parametrize("size", [(51, 38), (52, 39)])
def test_a_size_that_cannot_be_saved_is_told_before_anything_is_sampled(tmp_path, size):
    """The warning is true: ComfyUI does not save what it is told of, and saves everything else."""
    video = write_video(tmp_path / "clip.mp4", 4, 16, sound=False, size=size, pixels="yuv444p")
    for given in (video, video.get_components().images):
        said = []
        clip = read_clip("video", given, 16.0, "keep", "memory", said.append)
        assert [f"{size[0]} x {size[1]} pixels" in text for text in said] == [True]
        joined = Joined(frames_of(clip), frames_of(clip)[3:], frames_of(clip)[:1])
        with pytest.raises(Exception):  # noqa: B017  # whatever the encoder says
            joined_video(joined, clip).save_to(str(tmp_path / "saved.mp4"))
    even = read_clip("video", torch.rand(2, 38, 52, 3), 16.0, "keep", "memory", no_warning)
    joined_video(Joined(frames_of(even), frames_of(even), frames_of(even)), even).save_to(str(tmp_path / "saved.mp4"))


def components(rate=16, images=None, **more):
    images = torch.rand(4, 16, 16, 3) if images is None else images
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=rate, **more))


@pytest.mark.parametrize("rate", [0, Fraction(0), -24, float("nan"), float("inf")])
def test_a_video_without_a_rate_is_refused(rate):
    with pytest.raises(InputError, match="the frame rate is .*; it must be a number above 0"):
        video_clip(components(rate), "memory", no_warning)


def test_a_video_keeps_its_exact_rate():
    assert video_clip(components(Fraction(30000, 1001)), "memory", no_warning).rate == Fraction(30000, 1001)


def test_a_video_of_another_class_is_read_its_own_way(tmp_path):
    """Also where that class reads files, and does something to their frames."""

    class Dark(InputImpl.VideoFromFile):
        def get_components(self):
            whole = super().get_components()
            return Types.VideoComponents(images=whole.images / 2, frame_rate=whole.frame_rate, audio=whole.audio)

    file = write_video(tmp_path / "clip.mp4", 20, 16)
    dark = Dark(file.get_stream_source())
    for frames_in in ("memory", "disk"):
        assert torch.equal(frames_of(video_clip(dark, frames_in, no_warning)), file.get_components().images / 2)


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_a_video_without_frames_is_refused(tmp_path, frames_in):
    trimmed = InputImpl.VideoFromFile(write_video(tmp_path / "clip.mp4").get_stream_source(), start_time=100)
    for video in (trimmed, components(images=torch.zeros(0, 0, 0, 3))):
        with pytest.raises(InputError, match="the video has no frames"):
            video_clip(video, frames_in, no_warning)


def test_sound_without_samples_is_no_sound():
    silent = {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}
    assert video_clip(components(audio=silent), "memory", no_warning).sounds == ()


def test_a_file_that_does_not_fit_in_memory_is_told_before_it_is_read(tmp_path):
    """One black picture many times: a small file, and more frames than memory."""
    path = tmp_path / "large.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=16)
        stream.width, stream.height, stream.pix_fmt = 4096, 4096, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 31
        (packet,) = stream.encode(av.VideoFrame.from_ndarray(numpy.zeros((4096, 4096, 3), numpy.uint8), format="rgb24"))
        data = bytes(packet)
        for number in range(1 + comfy.model_management.get_free_memory(torch.device("cpu")) * 11 // 10 // (4096 * 4096 * 12)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 16)
            container.mux(packet)
    with pytest.raises(InputError, match=r"frames of 4096 x 4096 pixels take [\d.]+ GB, .* Set `frames_in` to disk"):
        video_clip(InputImpl.VideoFromFile(str(path)), "memory", no_warning)


def test_the_sound_stays_where_it_is_through_a_real_file(tmp_path):
    """Extended backwards and forwards, saved as mp4 and read again: rate, number of frames, length and place of the sound."""
    clip = video_clip(write_video(tmp_path / "clip.mp4", 48, 24), "memory", no_warning)
    for before, after in ((0, 36), (36, 0)):
        frames = torch.cat([torch.zeros(before, 48, 64, 3), frames_of(clip), torch.zeros(after, 48, 64, 3)])
        path = tmp_path / f"joined_{before}.mp4"
        joined_video(Joined(frames, frames, frames, before), clip).save_to(str(path))
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


def loud_tenths(audio):
    """Tenths of a second in which there is sound."""
    waves = audio["waveform"][0, 0].abs()
    tenth = audio["sample_rate"] // 10
    return [time for time, wave in enumerate(waves[: len(waves) // tenth * tenth].reshape(-1, tenth)) if wave.mean() > 0.1]


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_sound_that_begins_late_stays_late(tmp_path, frames_in):
    """In an extended clip, and in the second clip of a transition."""
    first = video_clip(write_video(tmp_path / "first.mp4", 48, 24), frames_in, no_warning)
    late = video_clip(write_video(tmp_path / "late.mp4", 24, 24, late=0.6), frames_in, no_warning)
    frames = torch.zeros(24 * 6, 48, 64, 3)
    joined = Joined(frames, frames, frames, before=12)
    assert loud_tenths(joined_video(joined, late).get_components().audio) == pytest.approx(range(11, 21), abs=1)
    joined = Joined(frames, frames, frames, arrival=72)
    found = loud_tenths(joined_video(joined, first, late).get_components().audio)
    assert found == pytest.approx([*range(20), *range(36, 46)], abs=1)


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
def test_an_alpha_channel_of_a_file_is_told(tmp_path, frames_in):
    video = write_video(tmp_path / "clip.mov", 4, 16, sound=False, codec="png", pixels="rgba")
    said = []
    clip = video_clip(video, frames_in, said.append)
    assert frames_of(clip).shape == (4, 48, 64, 3)
    assert ["alpha" in text for text in said] == [True]
