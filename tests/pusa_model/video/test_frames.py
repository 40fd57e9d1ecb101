"""Frames in memory and on disk: the same frames, and what a full disk says."""

import gc
import os
import shutil

import folder_paths
import psutil
import pytest
import torch
from pusa.pusa_model.video.frames import Frames, FramesOnDisk, make_frames
from pusa.schedulers import InputError


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path / "temp"


def some(count, seed=0):
    return torch.rand(count, 4, 5, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [Frames, FramesOnDisk])
def test_frames_are_read_where_they_were_put(kind):
    parts = [some(3), some(1, 1), some(4, 2)]
    before, after, replaced = some(2, 3), some(3, 4), some(1, 5)
    with kind(4, 5, before=2, after=3) as frames:
        frames.fill(iter(parts))
        assert frames.length == 8
        frames.put(8, after)
        frames.put(-2, before)
        frames.put(7, replaced)
        whole = frames.tensor()
    expected = torch.cat([before, *parts, after])
    expected[9] = replaced[0]
    assert whole.dtype == torch.float32 and torch.equal(whole, expected)


def test_nothing_is_seen_of_the_file_and_nothing_is_left(temp):
    """So a process that is killed leaves nothing, and another ComfyUI that empties the folder takes nothing away."""
    with FramesOnDisk(4, 5, after=3) as frames:
        frames.fill([some(2)])
        assert os.name == "nt" or not list(temp.iterdir())
        shutil.rmtree(temp, ignore_errors=True)
        frames.put(2, some(3, 1))
        whole = frames.tensor()
    assert torch.equal(whole, torch.cat([some(2), some(3, 1)]))
    del whole
    assert not temp.exists() or not list(temp.iterdir())


def test_frames_are_read_after_the_file_was_closed():
    with FramesOnDisk(4, 5) as frames:
        frames.fill([some(2)])
        whole = frames.tensor()
    gc.collect()
    assert torch.equal(whole, some(2)) and torch.equal(whole + 1 - 1, (some(2) + 1) - 1)


def test_more_frames_than_memory_are_mapped():
    """A file with a hole as large as twice the memory of the machine: mapping it takes none."""
    pytest.importorskip("resource", reason="Windows writes the hole")
    height, width = 1024, 1024
    count = 2 * psutil.virtual_memory().total // (height * width * 12)
    with FramesOnDisk(height, width) as frames:
        frames.put(count, torch.ones(1, height, width, 3))
        whole = frames.tensor()
    assert len(whole) == count + 1 and whole[-1].min() == 1 and not whole[count // 2].any()


def test_more_frames_than_memory_are_told_before_they_are_read():
    with pytest.raises(InputError, match=r"100000000 frames of 1920 x 1080 pixels take [\d.]+ GB, but [\d.]+ GB of memory"):
        make_frames("memory", 1080, 1920, after=10**8)
    with pytest.raises(InputError, match="Set `frames_in` to disk"):
        make_frames("memory", 1080, 1920, given=10**8)
    with pytest.raises(InputError, match="Set `frames_in` to disk"), make_frames("memory", 1080, 1920) as frames:
        frames.fill([torch.zeros(1).expand(10**8, 1080, 1920, 3)])


def test_a_folder_that_cannot_be_written_is_told_without_its_path(temp):
    temp.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="frames cannot be kept in ComfyUI's folder of temporary files") as raised:
        make_frames("disk", 4, 5)
    assert str(temp) not in str(raised.value)


def test_an_error_on_the_way_leaves_nothing(temp):
    with pytest.raises(ZeroDivisionError), FramesOnDisk(4, 5) as frames:
        frames.fill([some(2)])
        1 / 0  # noqa: B018
    assert not list(temp.iterdir())


def test_too_many_frames_for_the_disk_are_told_at_once(temp):
    with pytest.raises(InputError, match=r"1000000000 frames take [\d.]+ GB, but ComfyUI's folder .* has [\d.]+ GB left"):
        make_frames("disk", 1080, 1920, after=10**9)
    assert not temp.exists() or not list(temp.iterdir())


def test_a_disk_that_fills_up_is_told_in_words(temp):
    """The system refuses to let a file grow, as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of a file")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match="frames cannot be written to ComfyUI's folder of temporary files"):
            with FramesOnDisk(4, 5) as frames:
                frames.fill(some(10, seed) for seed in range(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not os.listdir(temp)


def test_another_place_is_refused():
    with pytest.raises(InputError, match="`frames_in` is `cloud`; use memory or disk"):
        make_frames("cloud", 4, 5)
