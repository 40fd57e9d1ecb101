"""The two layouts of a data set, and the frames that are read of its files."""

import struct

import av
import numpy
import pytest
import torch
from PIL import Image
from pusa.schedulers import InputError
from pusa.training.data.clips import read_clip, read_picture
from pusa.training.data.datasets import find_items


def write_video(path, frames=9, width=64, height=48, brightness=lambda frame: 20 * frame % 256, codec="mpeg4"):
    """A video of plain frames, or of the pictures [H, W, 3] that `brightness` returns."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            pixels = numpy.zeros((height, width, 3), numpy.uint8) + numpy.uint8(brightness(index))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_flat(folder, **captions):
    for name, caption in captions.items():
        write_video(folder / f"{name}.mp4", frames=2)
        if caption is not None:
            (folder / f"{name}.txt").write_text(caption, encoding="utf-8")


def found(folder):
    items, skipped = find_items(folder)
    return [(item.name, item.caption) for item in items], {each.name: each.reason for each in skipped}


def test_clips_with_a_text_file_beside_each(tmp_path):
    write_flat(tmp_path, b="a  cat\nwalks\n", a="ein Kätzchen", silent=None, empty=" \n")
    Image.new("RGB", (8, 8)).save(tmp_path / "still.PNG")
    (tmp_path / "still.txt").write_text("a picture")
    (tmp_path / "notes.txt").write_text("of no clip")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "latin.mp4").write_bytes(b"")
    (tmp_path / "latin.txt").write_bytes("Kätzchen".encode("latin-1"))
    items, skipped = found(tmp_path)
    assert items == [("a.mp4", "ein Kätzchen"), ("b.mp4", "a cat walks"), ("still.PNG", "a picture")]
    assert skipped == {
        "silent.mp4": "has no caption: silent.txt is missing",
        "empty.mp4": "has an empty caption",
        "latin.mp4": "its caption latin.txt is no text in UTF-8 (byte 1 is 0xe4); save it as UTF-8",
    }


@pytest.mark.parametrize("place", ["train", ""])
def test_a_table_and_files(tmp_path, place):
    (tmp_path / "train").mkdir()
    for name in ("one.mp4", "two.webp", "three.doc"):
        (tmp_path / place / name).write_bytes(b"")
    (tmp_path / "metadata.csv").write_text(
        '\ufefffile_name,text,more\none.mp4,"first, with a comma",x\ntwo.webp,second,\ngone.mp4,third,\nthree.doc,fourth,\n'
        "one.mp4,again,\ntwo.webp\n", encoding="utf-8",
    )  # fmt: skip
    items, skipped = find_items(tmp_path)
    assert [(item.name, item.caption, item.picture) for item in items] == [
        ("one.mp4", "first, with a comma", False), ("two.webp", "second", True),
    ]  # fmt: skip
    (tmp_path / "five.mp4").write_bytes(b"")
    assert [(each.name, each.reason) for each in find_items(tmp_path)[1]][-1] == ("five.mp4", "metadata.csv does not name it")
    assert [(each.name, each.reason.split(" (")[0]) for each in skipped] == [
        ("gone.mp4", "there is no such file"), ("three.doc", "is neither a video nor a picture"),
        ("one.mp4", "is named twice"), ("two.webp", "is named twice"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content, words",
    [
        (b"name,text\na.mp4,b\n", "has no column file_name"),
        (b"", "has no column file_name and no column text"),
        ("file_name,text\na.mp4,Kätzchen\n".encode("latin-1"), "cannot be read as a table in UTF-8"),
        (b"file_name,text\n", "holds no clips"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, content, words):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        find_items(tmp_path)


@pytest.mark.parametrize(
    "name, content",
    [
        ("metadata.jsonl", '{"file_name": "a/one.mp4", "text": "first"}\n\n{"file_name": "two.mp4", "text": "Kätzchen"}\n'),
        ("captions.jsonl", '{"video_path": "a/one.mp4", "caption": "first"}\n{"video_path": "two.mp4", "caption": "Kätzchen"}'),
        ("captions.csv", 'path,prompt\r\na/one.mp4,first\r\ntwo.mp4,"Kätzchen"\r\n'),
    ],
)
def test_tables_of_other_trainers(tmp_path, name, content):
    (tmp_path / "a").mkdir()
    for clip in ("a/one.mp4", "two.mp4"):
        (tmp_path / clip).write_bytes(b"")
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert found(tmp_path) == ([("a/one.mp4", "first"), ("two.mp4", "Kätzchen")], {})


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"file_name": "a.mp4", "text": "b"}\n{"file_name"', "line 2, is no JSON"),
        ('["a.mp4", "b"]', "line 1, is no object"),
        ('{"file_name": "a.mp4"}', "line 1, has no column text"),
        ('{"file_name": "a.mp4", "text": 5}', "line 1, holds something else than two texts"),
    ],
)
def test_json_lines_that_cannot_be_used_are_refused(tmp_path, content, words):
    (tmp_path / "metadata.jsonl").write_text(content)
    with pytest.raises(InputError, match=words):
        find_items(tmp_path)


def test_two_tables_are_one_too_many(tmp_path):
    for name in ("metadata.csv", "captions.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="holds metadata.csv and captions.jsonl; leave one table"):
        find_items(tmp_path)


def test_clips_in_subfolders_and_captions_in_utf_16(tmp_path):
    for folder in ("a/b", "c", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "clip.mp4").write_bytes(b"")
        (tmp_path / folder / "clip.txt").write_text(f"Kätzchen in {folder}", encoding="utf-16")
    assert found(tmp_path) == ([("a/b/clip.mp4", "Kätzchen in a/b"), ("c/clip.mp4", "Kätzchen in c")], {})


def test_a_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no clips"):
        find_items(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        find_items(tmp_path / "nowhere")


def test_the_first_frames_are_read_in_order(tmp_path):
    frames = read_clip(write_video(tmp_path / "a.mp4", frames=12), 9, [(64, 48)]).frames
    assert frames.shape == (9, 48, 64, 3) and frames.dtype == torch.float32
    assert torch.allclose(frames.mean(dim=(1, 2, 3)) * 255, 20 * torch.arange(9.0), atol=4)


def test_a_clip_covers_the_size_and_loses_its_edges_evenly(tmp_path):
    def stripes(index):
        columns = numpy.zeros((48, 96, 3), numpy.uint8)
        columns[:, :24], columns[:, 24:72], columns[:, 72:] = 255, 128, 0
        return columns

    frames = read_clip(write_video(tmp_path / "a.mp4", 1, 96, 48, stripes, codec="libx264"), 1, [(32, 32)]).frames
    assert frames.shape == (1, 32, 32, 3)
    assert (frames[0, :, 3:-3] * 255 - 128).abs().max() < 12  # only the middle half is left


def test_a_video_is_read_the_way_up_a_player_shows_it(tmp_path):
    """Phones store a turned picture and a matrix that turns it back."""

    def top_left(index):
        pixels = numpy.zeros((48, 96, 3), numpy.uint8)
        pixels[:24, :48] = 255
        return pixels

    path = write_video(tmp_path / "a.mp4", 1, 96, 48, top_left, codec="libx264")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *clockwise)
    path.write_bytes(data)
    frame = read_clip(path, 1, [(48, 96)]).frames[0].mean(2)
    assert frame[:48, 24:].mean() > 0.8 > 0.2 > frame[48:].mean()  # top left has become top right


@pytest.mark.parametrize("frames, words", [(8, "has 8 frames, 9 are needed"), (1, "has 1 frames, 9 are needed")])
def test_a_short_clip_says_so(tmp_path, frames, words):
    with pytest.raises(InputError, match=words):
        read_clip(write_video(tmp_path / "a.mp4", frames), 9, [(64, 48)])


def test_a_broken_clip_says_so(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    whole = write_video(tmp_path / "whole.mp4", 30, codec="libx264").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("noise", "cut", "empty"):
        with pytest.raises(InputError, match="cannot be decoded"):
            read_clip(tmp_path / f"{name}.mp4", 9, [(64, 48)])


def test_a_file_without_pictures_says_so(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(numpy.zeros((1, 1024), numpy.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="cannot be decoded|holds no video"):
        read_clip(tmp_path / "sound.mp4", 9, [(64, 48)])


def test_a_picture_is_one_frame(tmp_path):
    Image.new("RGBA", (40, 20), (255, 0, 0, 255)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", [(32, 32)]).frames
    assert picture.shape == (1, 32, 32, 3) and torch.equal(picture[0, 0, 0], torch.tensor([1.0, 0, 0]))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_picture(tmp_path / "b.png", [(32, 32)])
