"""The sound of video files, in its place against the frames."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl
from pusa.nodes.shared.video_file import file_parts, file_sounds

CLOCK, RATE = 10000, 25


def write(path, sound="aac", start=0.0, sound_start=0.0, pauses=(), silent=False, codec="libx264", **options):
    """A film of 2 s with a tone that is heard for as long from ``sound_start`` on, but not in ``pauses`` (from, to)."""
    rate, seconds = 48000, 2
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, CLOCK)
        audio = container.add_stream(sound, rate=rate, layout="mono")
        packets = []
        for number in range(RATE * seconds):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * number, np.uint8), format="rgb24")
            frame.time_base, frame.pts = Fraction(1, CLOCK), round(CLOCK * (start + number / RATE))
            packets += video.encode(frame)
        packets += video.encode()
        audio.codec_context.open()
        size = audio.codec_context.frame_size or 480
        tone = np.sin(np.arange(size) * 2 * np.pi * 3 / size).astype(np.float32)[None]
        for place in range(0, 0 if silent else rate * seconds, size):
            time = sound_start + place / rate
            if any(begin <= time < end for begin, end in pauses):
                continue
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(rate * sound_start) + place
            packets += audio.encode(frame)
        packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def heard(video):
    """From when to when after the first frame there is sound, by piece."""
    start = next(file_parts(video)).start
    sounds = file_sounds(video, start)
    return [(begin, begin + audio["waveform"].shape[-1] / audio["sample_rate"]) for audio, begin in sounds]


CONTAINERS = [
    ("a.mp4", "aac"), ("a.mkv", "aac"), ("a.mkv", "pcm_s16le"), ("a.mov", "pcm_s16le"), ("a.ts", "mp2"), ("a.webm", "libopus"),
]  # fmt: skip


@pytest.mark.parametrize("name, sound", CONTAINERS)
@pytest.mark.parametrize("start, sound_start", [(0, 0), (0, 0.5), (0, 1.3), (1.0, 0), (1.0, 1.5), (3.0, 3.0)])
def test_sound_begins_where_it_does_in_the_file(tmp_path, name, sound, start, sound_start):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    video = InputImpl.VideoFromFile(str(write(tmp_path / name, sound, start, sound_start, codec=codec)))
    ((begin, end),) = heard(video)
    assert begin == pytest.approx(max(0, sound_start - start), abs=0.03)
    assert end == pytest.approx(sound_start - start + 2, abs=0.05)


@pytest.mark.parametrize("name, sound", [each for each in CONTAINERS if each[0] != "a.ts"])  # which cannot be searched exactly
@pytest.mark.parametrize("sound_start", [0.0, 1.0])
def test_sound_of_a_trimmed_file(tmp_path, name, sound, sound_start):
    """Heard from 1 s of the file on, in a clip that begins at 0.6 s and ends at 1.5 s: it begins at 0.4 s and ends at 0.9 s."""
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = write(tmp_path / name, sound, sound_start=sound_start, codec=codec, g="10")
    ((begin, end),) = heard(InputImpl.VideoFromFile(str(path), start_time=0.6, duration=0.9))
    assert begin == pytest.approx(0.4 if sound_start else 0.0, abs=0.05)
    assert end == pytest.approx(0.9, abs=0.03)


def test_sound_without_a_pause_is_what_comfyui_reads(tmp_path):
    for name, sound in CONTAINERS[:3]:
        video = InputImpl.VideoFromFile(str(write(tmp_path / name, sound)))
        ((audio, begin),), whole = file_sounds(video, 0.0), video.get_components().audio
        assert begin == 0 and audio["sample_rate"] == whole["sample_rate"]
        assert torch.equal(audio["waveform"], whole["waveform"])


def test_a_pause_stays_a_pause(tmp_path):
    video = InputImpl.VideoFromFile(str(write(tmp_path / "a.mkv", "pcm_s16le", pauses=[(0.5, 1.2)])))
    assert heard(video) == [pytest.approx((0, 0.5), abs=0.02), pytest.approx((1.2, 2.0), abs=0.02)]


def test_a_track_without_samples_is_no_sound(tmp_path):
    assert heard(InputImpl.VideoFromFile(str(write(tmp_path / "a.mkv", silent=True)))) == []


def test_sound_that_ended_before_the_first_frame_is_no_sound(tmp_path):
    assert heard(InputImpl.VideoFromFile(str(write(tmp_path / "a.mkv", "pcm_s16le", start=4.0)))) == []
