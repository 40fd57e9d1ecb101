"""Video files of many kinds: read a few frames at a time they give the frames that ComfyUI's reader gives, bit for bit."""

import io
import struct
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl
from pusa.nodes.shared import video_file
from pusa.nodes.shared.video_file import PART, file_parts, opened, packet_times, uneven
from pusa.schedulers import InputError

CLOCK = 90000
X264, QUIET = {"threads": "1"}, {"x265-params": "log-level=none"}


def write_sound(path, codec="pcm_s16le"):
    """Half a second of sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def picture(number, width, height, channels=3):
    """A moving gradient with the number of the frame in it, a bright square for each bit."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 2 + number * 5) % 200, (y * 3) % 200, (x + y + number) % 200, 55 + x * 0 + number % 200], axis=-1)
    for bit in range(8):
        image[:6, 6 * bit : 6 * bit + 6, :3] = 255 * (number >> bit & 1)
    return image[..., :channels].astype(np.uint8)


def write(
    path, codec="libx264", pixels="yuv420p", frames=40, rate=25, size=(64, 48), times=None, options=None, format=None, start=0,
    title="",
):  # fmt: skip
    """A film; ``times`` of its frames, or its ``start``, in seconds."""
    alpha = "a" in pixels.replace("gray", "")
    with av.open(str(path), "w", format=format) as container:
        container.metadata["title"] = title
        stream = container.add_stream(codec, rate=rate, options=X264 | (options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if times or start:
            stream.codec_context.time_base = Fraction(1, CLOCK)
        for number in range(frames):
            kind = "rgba" if alpha else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture(number, *size, 3 + alpha), format=kind)
            if times or start:
                frame.time_base = Fraction(1, CLOCK)
                frame.pts = round(CLOCK * (times[number] if times else start + Fraction(number) / rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def film(name, **kind):
    return pytest.param(name, kind, id=f"{name}-{'-'.join(f'{key}={value}' for key, value in kind.items() if key != 'times')}")


FILMS = [
    film("a.mp4"),
    film("rate.mp4", rate=10),
    film("rate.mp4", rate=60, frames=130),
    film("rate.mp4", rate=Fraction(30000, 1001)),
    film("late.mp4", start=6),
    film("long.mp4", frames=251),
    film("one-group.mp4", options={"g": "999", "bf": "0"}),
    film("open-groups.mp4", frames=90, options={"x264-params": "open-gop=1:keyint=12:bframes=3"}),
    film("uneven.mp4", times=[sum(0.04 + 0.03 * (step % 3) for step in range(number)) for number in range(40)]),
    film("pause.mkv", times=[number / 25 + 30 * (number > 20) for number in range(40)]),
    film("far.mkv", times=[number / 25 + 200000 * (number > 38) for number in range(40)]),
    film("odd.mp4", pixels="yuv444p", size=(51, 39)),
    film("wide.mp4", size=(70, 46)),
    film("full-range.mkv", codec="mjpeg", pixels="yuvj420p"),
    film("ten-bit.mp4", codec="libx265", pixels="yuv420p10le", options=QUIET),
    film("prores.mov", codec="prores_ks", pixels="yuv422p10le"),
    film("alpha.mov", codec="png", pixels="rgba", size=(50, 34)),
    film("floats.nut", codec="rawvideo", pixels="gbrpf32le"),
    film("a.mkv"),
    film("lossless.mkv", codec="ffv1"),
    film("a.webm", codec="libvpx-vp9"),
    film("a.gif", codec="gif", pixels="rgb8", rate=20),
    film("a.apng", codec="apng", pixels="rgba"),
    film("a.ts", frames=251, options={"bf": "2"}),
    film("late.ts", start=6),
    film("a.flv"),
    film("a.mpg", codec="mpeg2video", options={"bf": "2"}),
    film("a.avi", codec="mpeg4", options={"bf": "2"}),
    film("h264.avi"),
    film("pictures.avi", codec="mjpeg", pixels="yuvj420p"),
    film("a.y4m", codec="wrapped_avframe"),
]


@pytest.fixture(autouse=True)
def seconds():
    """Every file here is read in seconds, whatever it says about itself."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20


def in_parts(video):
    return torch.cat([part.images for part in file_parts(video)])


def check_same(video):
    """In parts, none of them large, a file has the frames of one piece; returns their number."""
    whole, parts = video.get_components(), list(file_parts(video))
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert {len(part.images) for part in parts[:-1]} <= {PART} and len(parts[-1].images) < PART + 16
    assert {(part.rate, part.alpha) for part in parts} == {(whole.frame_rate, whole.alpha is not None)}
    return len(whole.images)


@pytest.mark.parametrize("name, kind", FILMS)
def test_in_parts_a_file_is_what_it_is_in_one_piece(tmp_path, name, kind):
    path = write(tmp_path / name, **kind)
    assert check_same(InputImpl.VideoFromFile(str(path))) == kind.get("frames", 40)


@pytest.mark.parametrize("name, kind", [film for film in FILMS if film.values[0] not in ("a.y4m", "a.apng")])
@pytest.mark.parametrize("trim", [(0.48, 0.0), (0.31, 0.7), (0.0, 0.5), (-0.6, 0.4)], ids=str)
def test_a_trimmed_file_too(tmp_path, name, kind, trim):
    """Where ComfyUI finds no frames behind a trim, none are found here."""
    video = InputImpl.VideoFromFile(str(write(tmp_path / name, **kind)), start_time=trim[0], duration=trim[1])
    whole = video.get_components().images
    found = [part.images for part in file_parts(video)]
    assert torch.equal(torch.cat(found), whole) if found else not len(whole)


@pytest.mark.parametrize("trim", [(0.0, 0.0), (0.5, 0.6), (-0.6, 0.4)], ids=str)
def test_bytes_are_read_like_the_file(tmp_path, trim):
    """Also by two readers at a time, each of which has its own place in them."""
    path = write(tmp_path / "a.mkv")
    window = {"start_time": trim[0], "duration": trim[1]}
    named = InputImpl.VideoFromFile(str(path), **window)
    held = InputImpl.VideoFromFile(io.BytesIO(path.read_bytes()), **window)
    pairs = list(zip(file_parts(held), file_parts(held)))
    assert torch.equal(torch.cat([one.images for one, _ in pairs]), named.get_components().images)
    assert all(torch.equal(one.images, other.images) for one, other in pairs)


@pytest.mark.parametrize("quarters, matrix", [(1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (3, (0, -1, 1, 0))])
def test_a_film_that_lies_on_its_side(tmp_path, quarters, matrix):
    path = write(tmp_path / "phone.mp4", size=(70, 48))
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    upright = in_parts(InputImpl.VideoFromFile(str(path)))
    path.write_bytes(data)
    check_same(InputImpl.VideoFromFile(str(path)))
    turned = in_parts(InputImpl.VideoFromFile(str(path)))
    assert torch.equal(turned, upright.rot90(-quarters, (1, 2)))


def behind_one_another(folder, codec, formats, frames=43, **kind):
    """Two films in one file; the clock of the second begins where that of the first ends, or at 0 again with ``restart``."""
    restart, parts = kind.pop("restart", False), []
    for number, pixels in enumerate(formats):
        start = 0 if restart else number * frames / 25
        parts.append(write(folder / f"{number}.ts", codec, pixels, frames, start=start, **kind).read_bytes())
    (folder / "both.ts").write_bytes(b"".join(parts))
    return str(folder / "both.ts")


@pytest.mark.parametrize(
    "codec, formats, options",
    [("libx264", ("yuvj420p", "yuv420p10le"), {}), ("libx265", ("yuv420p", "yuvj420p"), QUIET), ("libx264", ("yuv420p",) * 2, {})],
)
def test_frames_are_treated_like_the_first_of_the_file(tmp_path, codec, formats, options):
    """ComfyUI's reader looks at the first frame to choose between eight bits and floats for all."""
    assert check_same(InputImpl.VideoFromFile(behind_one_another(tmp_path, codec, formats, options=options))) == 86


def test_pictures_that_change_their_size_are_refused(tmp_path):
    parts = [write(tmp_path / f"{number}.ts", size=size).read_bytes() for number, size in enumerate([(64, 48), (96, 48)])]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="change their size"):
        in_parts(InputImpl.VideoFromFile(str(tmp_path / "both.ts")))


@pytest.mark.parametrize("room, sizes", [(2, [2, 2, 1]), (0.5, [1] * 5)])
def test_of_large_frames_fewer_are_decoded_at_a_time(tmp_path, monkeypatch, room, sizes):
    monkeypatch.setattr(video_file, "PIXELS", int(room * 64 * 48))
    path = write(tmp_path / "a.avi", "mjpeg", "yuvj420p", frames=5)
    assert [len(part.images) for part in file_parts(InputImpl.VideoFromFile(str(path)))] == sizes


def test_a_trim_ends_at_its_end_though_the_clock_begins_again(tmp_path):
    path = behind_one_another(tmp_path, "libx264", ("yuv420p",) * 2, restart=True)
    assert check_same(InputImpl.VideoFromFile(path, duration=1.0)) in (23, 24, 25)


def test_a_title_in_another_code_is_no_obstacle(tmp_path):
    path = write(tmp_path / "a.avi", title="Spring, mild")
    path.write_bytes(path.read_bytes().replace(b"mild", b"m\xe4ld"))
    assert len(in_parts(InputImpl.VideoFromFile(str(path)))) == 40


def test_a_length_that_is_not_true(tmp_path):
    path = write(tmp_path / "false.mkv")
    data = bytearray(path.read_bytes())
    place = data.find(b"\x44\x89\x88") + 3
    data[place : place + 8] = struct.pack(">d", 4e12)
    path.write_bytes(data)
    assert check_same(InputImpl.VideoFromFile(str(path))) == 40


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi", "a.webm"])
@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_file_that_breaks_off(tmp_path, name, share):
    kind = next(film.values[1] for film in FILMS if film.values[0] == name)
    path = write(tmp_path / name, **kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert 0 < check_same(InputImpl.VideoFromFile(str(path))) < 251


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.mp4", "a.avi", "lossless.mkv", "a.flv"])
def test_a_file_with_a_damaged_middle(tmp_path, name):
    kind = next(film.values[1] for film in FILMS if film.values[0] == name)
    path = write(tmp_path / name, **kind)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[10::9]:
        for place in range(packet.pos + packet.size // 2, packet.pos + packet.size, 3):
            data[place] ^= 0x5A
    path.write_bytes(data)
    assert check_same(InputImpl.VideoFromFile(str(path)))


def nameless(path):
    """A Matroska file whose codec nobody knows."""
    path.write_bytes(write(path).read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ABC"))


def without_frames(path):
    """The header of a film, and nothing behind it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


@pytest.mark.parametrize(
    "name, make, words",
    [
        ("text.mp4", lambda path: path.write_text("no film"), r"cannot be read \(Invalid data found when processing input\)"),
        ("empty.mp4", lambda path: path.write_bytes(b""), "cannot be read"),
        ("missing.mp4", lambda path: None, r"cannot be read \(No such file or directory\)"),
        ("sound.wav", lambda path: write_sound(path), "the file has no pictures"),
        ("raw.h264", write, "have no times"),
        ("unknown.mkv", nameless, "coded in a way that is not known"),
    ],
)
def test_what_is_no_film_is_told_without_its_path(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words) as raised:
        list(file_parts(InputImpl.VideoFromFile(str(tmp_path / name))))
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("name", ["none.mkv", "none.ts", "none.avi"])
def test_a_film_without_frames_has_no_parts(tmp_path, name):
    without_frames(tmp_path / name)
    try:
        assert not list(file_parts(InputImpl.VideoFromFile(str(tmp_path / name))))
    except InputError:
        pass


def times(path, **trim):
    with opened(InputImpl.VideoFromFile(str(path), **trim)) as film:
        return packet_times(film)


@pytest.mark.parametrize("name, kind", FILMS)
def test_a_rate_is_uneven_only_where_frames_are_shown_for_different_times(tmp_path, name, kind):
    found = times(write(tmp_path / name, **kind))
    assert len(found) == kind.get("frames", 40) and uneven(found) == ("times" in kind)


def test_only_what_is_taken_of_a_file_is_judged(tmp_path):
    path = write(tmp_path / "a.mkv", times=[number / 25 + 30 * (number > 30) for number in range(40)])
    assert uneven(times(path)) and not uneven(times(path, duration=1.2))
    assert len(times(path, start_time=0.4, duration=0.4)) == 10
