"""Frames in memory and on disk: the same frames, and what a full disk says."""

import os

import folder_paths
import pytest
import torch
from pusa.pusa_model.frames import Frames, FramesOnDisk, make_frames
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


def test_the_file_is_gone_when_nothing_reads_it(temp):
    with FramesOnDisk(4, 5, after=3) as frames:
        frames.fill([some(2)])
        frames.put(2, some(3, 1))
        assert len(list(temp.iterdir())) == 1
        whole = frames.tensor()
    assert not list(temp.iterdir()) and torch.equal(whole[:2], some(2))


def test_changing_what_was_read_changes_no_file():
    with FramesOnDisk(4, 5) as frames:
        frames.fill([some(2)])
        first, second = frames.tensor(), frames.tensor()
    first += 1
    assert torch.equal(second, some(2))


def test_an_error_on_the_way_leaves_nothing(temp):
    with pytest.raises(ZeroDivisionError), FramesOnDisk(4, 5) as frames:
        frames.fill([some(2)])
        1 / 0  # noqa: B018
    assert not list(temp.iterdir())


def test_too_many_frames_for_the_disk_are_told_at_once(temp):
    with pytest.raises(InputError, match=r"1000000000 new frames take [\d.]+ GB, but ComfyUI's folder .* has [\d.]+ GB left"):
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
