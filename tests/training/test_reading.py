"""Clips at the rate of the model, in windows, at several sizes; what is told of them."""

import threading
from fractions import Fraction

import av
import numpy
import pytest
import torch
from PIL import Image
from pusa.pusa_model.families.table import WAN
from pusa.pusa_model.timeline.encode import fit_images
from pusa.schedulers import InputError
from pusa.training.data.ahead import ahead
from pusa.training.data.clips import cut_share, fitted, in_floats, length, nearest_size, read_clip
from pusa.training.data.datasets import Item
from pusa.training.data.reading import Reader
from pusa.training.encode import parser, reader_of

SIZE = [(32, 32)]
STEP = 4  # brightness from one frame to the next


def write_video(path, frames, rate, width=32, height=32):
    """Frames that each are brighter than the one before, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for index in range(frames):
            pixels = numpy.full((height, width, 3), STEP * index % 256, numpy.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def numbers(frames):
    """Which frames of the file these are."""
    pixels = frames if frames.dtype == torch.uint8 else 255 * frames
    return (pixels.float().mean(dim=(1, 2, 3)) / STEP).round().int().tolist()


def item(path, **changed):
    return Item(path.name, path, "words", **changed)


@pytest.mark.parametrize(
    "rate, taken",
    [(16, [0, 1, 2, 3, 4]), (32, [0, 2, 4, 6, 8]), (24, [0, 2, 3, 4, 6]), (60, [0, 4, 8, 11, 15]), (8, [0, 0, 1, 2, 2])],
)
def test_a_clip_is_taken_at_the_rate_of_the_model(tmp_path, rate, taken):
    clip = read_clip(write_video(tmp_path / "a.mkv", 20, rate), 5, SIZE, Fraction(16))
    assert numbers(clip.frames) == taken and clip.rate == rate
    seconds = [number / rate for number in taken]
    assert all(abs(second - step / 16) <= 0.5 / min(rate, 16) + 1e-9 for step, second in enumerate(seconds)), "the nearest in time"
    assert numbers(read_clip(tmp_path / "a.mkv", 5, SIZE).frames) == [0, 1, 2, 3, 4]


def test_a_fast_clip_that_is_too_short_says_so(tmp_path):
    with pytest.raises(InputError, match="has 4 frames at 16 per second, 5 are needed"):
        read_clip(write_video(tmp_path / "a.mkv", 14, 60), 5, SIZE, Fraction(16))
    with pytest.raises(InputError, match="has 3 frames from frame 4 on, 5 are needed"):
        read_clip(write_video(tmp_path / "b.mkv", 7, 16), 5, SIZE, Fraction(16), start=4)


@pytest.mark.parametrize("rate, fps, frames", [(16, 16, 20), (32, 16, 10), (60, 16, 6), (24, None, 20)])
def test_the_length_is_that_of_what_can_be_read(tmp_path, rate, fps, frames):
    path, fps = write_video(tmp_path / "a.mkv", 20, rate), fps and Fraction(fps)
    assert length(path, fps) == frames
    read_clip(path, frames, SIZE, fps)
    with pytest.raises(InputError, match="are needed"):
        read_clip(path, frames + 1, SIZE, fps)


@pytest.mark.parametrize(
    "window, expected",
    [
        ("head", {"a.mkv": [0, 2, 4, 6, 8]}),
        ("middle", {"a.mkv": [8, 10, 12, 14, 16]}),
        ("chunks", {"a.mkv": [0, 2, 4, 6, 8], "a.mkv#5": [10, 12, 14, 16, 18]}),
    ],
)
def test_windows(tmp_path, window, expected):
    path = write_video(tmp_path / "a.mkv", 27, 32)
    reader = Reader(5, SIZE, Fraction(16), window)
    assert {part.name: numbers(reader(part)) for part in reader.windows([item(path)])} == expected


def test_what_cannot_be_cut_into_windows_stays_as_it_is(tmp_path):
    short = item(write_video(tmp_path / "short.mkv", 4, 16))
    (tmp_path / "broken.mkv").write_bytes(b"no video")
    (tmp_path / "still.png").write_bytes(b"")
    items = [short, item(tmp_path / "broken.mkv"), item(tmp_path / "still.png")]
    for window in ("middle", "chunks"):
        assert Reader(5, SIZE, Fraction(16), window).windows(items) == items


@pytest.mark.parametrize("width, height", [(64, 32), (48, 48), (57, 91), (130, 33), (200, 16)])
@pytest.mark.parametrize("size", [(64, 32), (32, 64), (48, 48)])
def test_a_frame_is_fitted_to_the_bit_as_keyframes_does(width, height, size):
    pixels = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), numpy.uint8)
    expected = fit_images(torch.from_numpy(pixels)[None].float() / 255, *size, "crop")
    assert torch.equal(in_floats(torch.from_numpy(fitted(pixels, *size).copy()))[None], expected)


def test_every_clip_has_the_size_that_cuts_off_least():
    sizes = [(832, 480), (480, 832), (640, 640)]
    assert nearest_size(1920, 1080, sizes) == (832, 480) and nearest_size(1080, 1920, sizes) == (480, 832)
    assert nearest_size(500, 480, sizes) == (640, 640) and nearest_size(5, 3, [(416, 240), (832, 480)]) == (832, 480)
    assert cut_share(1080, 1920, (832, 480)) == pytest.approx(1 - (9 / 16) * (480 / 832)) and cut_share(64, 32, (832, 416)) == 0


def test_what_was_read_is_told(tmp_path):
    reader = Reader(5, [(64, 32)], Fraction(16))
    for name, rate, size in (("a", 16, (64, 32)), ("b", 60, (64, 32)), ("c", 60, (32, 64)), ("d", 8, (64, 32))):
        reader(item(write_video(tmp_path / f"{name}.mkv", 20, rate, *size)))
    Image.new("RGB", (64, 32)).save(tmp_path / "still.png")
    assert reader(item(tmp_path / "still.png")).shape == (1, 32, 64, 3)
    assert reader.told() == [
        "2 clips at 60 frames per second: taken at 16",
        "1 clips at 16 frames per second, the rate of the model",
        "1 clips at 8 frames per second: taken at 16; WARNING: slower than that, so frames are repeated",
        "cut off to fit the size: 15% of the area on average",
        "Warning: 1 lose a quarter or more: c.mkv (75%). --sizes takes several sizes, portrait too.",
    ]
    upright = Reader(5, [(64, 32), (32, 64)], None)
    assert upright(item(tmp_path / "c.mkv")).shape == (5, 64, 32, 3)
    assert upright.told()[0] == "1 clips at 60 frames per second: taken frame by frame, whatever the rate of the model"


def reader(*arguments):
    return reader_of(parser().parse_args(["data", "store", "--vae", "vae.safetensors", *arguments]), WAN)


def test_options_reach_the_reader():
    assert reader() == Reader(81, [(832, 480)], Fraction(16), "head")
    made = reader("--sizes", "832x480, 480x832", "--fps", "keep", "--window", "chunks", "--num_frames", "49")
    assert made == Reader(49, [(832, 480), (480, 832)], None, "chunks") and reader("--fps", "24").fps == 24


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--sizes", "832x480", "--width", "64"), "use one of them"),
        (("--sizes", "832*480"), "give width x height"),
        (("--sizes", "832x480,480x830"), "`height` is 830"),
        (("--fps", "1e400"), "`fps` is 1e400; give frames per second above 0, or keep"),
        (("--fps", "0"), "`fps` is 0; give frames per second above 0, or keep"),
        (("--fps", "fast"), "`fps` is fast"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        reader(*arguments)


def test_a_window_is_read_to_the_bit_as_it_lies_in_the_whole(tmp_path):
    path = write_video(tmp_path / "a.mkv", 30, 24)
    whole = read_clip(path, 20, SIZE, Fraction(16)).frames
    assert torch.equal(read_clip(path, 5, SIZE, Fraction(16), start=7).frames, whole[7:12])


def test_items_are_read_ahead_in_their_order_and_no_further():
    """The caller sees each in its order; while it is at one, the threads have begun the next two and nothing behind those."""
    begun, started, gate = [], threading.Semaphore(0), threading.Event()

    def work(number):
        begun.append(number)
        started.release()
        gate.wait(10)
        if number == 3:
            raise InputError("no clip")
        return 10 * number

    reading = ahead(work, range(8), 2)
    first, made = next(reading)
    assert started.acquire(timeout=10) and started.acquire(timeout=10)
    assert first == 0 and not made.done() and sorted(begun) == [0, 1], "two threads"
    gate.set()
    assert made.result() == 0
    second, made = next(reading)
    assert (second, made.result()) == (1, 10)
    assert max(begun) <= 3
    third, fourth = next(reading), next(reading)
    assert third[1].result() == 20
    with pytest.raises(InputError, match="no clip"):
        fourth[1].result()
    reading.close()
    assert max(begun) <= 5, "what had not begun is left"
