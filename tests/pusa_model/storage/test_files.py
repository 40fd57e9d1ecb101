"""Whole files: what a killed writer leaves goes with the next, what a living one writes stays, and a refusal leaves nothing."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import folder_paths
import host_comfyui
import pytest
import tiny
import torch
from pusa.pusa_model.lora.merge import output as merge_output
from pusa.pusa_model.lora.merge.stream import merge
from pusa.pusa_model.prompts import stored as prompts
from pusa.pusa_model.storage import files
from pusa.pusa_model.storage.files import is_part, write_whole
from pusa.pusa_model.storage.folders import WholeFolder, remove_folder
from pusa.pusa_model.video.window_store import load_window, store_window
from pusa.schedulers import InputError
from pusa.training.files import write_tensors
from pusa.training.keeping.checkpoint import save_checkpoint
from pusa.training.store import StoreWriter
from safetensors.torch import save_file

BESIDE = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/pusa_model/storage"]
import host_comfyui
host_comfyui.start(); host_comfyui.load_pack()
import test_files
from pathlib import Path

def beside(name, replace):
    child = os.fork()
    if child == 0:
        os.replace = replace
        test_files.settle(Path({folder!r}) / name)
        test_files.WRITERS[name](Path({folder!r}) / name)
        os._exit(1)
    return child

for name in test_files.WRITERS:
    reading, writing = os.pipe()
    beside(name, lambda *names: (os.write(writing, b"there"), sys.stdin.read(), os._exit(0)))
    os.read(reading, 5)
    os.waitpid(beside(name, lambda *names: os.kill(os.getpid(), signal.SIGKILL)), 0)
print("ready", flush=True)
sys.stdin.read()
"""  # for each writer one process that stops, and one that dies, where its file would get its name


def settle(folder: Path) -> None:
    """Point ComfyUI at a folder, and put there what a merge needs."""
    folder_paths.set_user_directory(str(folder / "user"))
    folder_paths.set_temp_directory(str(folder / "temp"))
    folder_paths.folder_names_and_paths[prompts.FOLDER] = ([str(folder / "prompts")], {".safetensors"})
    (folder / "models").mkdir(exist_ok=True, parents=True)
    if not (folder / "models" / "base.safetensors").exists():
        save_file(tiny.wan_weights(layers=1), folder / "models" / "base.safetensors")
        save_file(tiny.lora_weights(layers=1), folder / "models" / "lora.safetensors")


def write_store(folder: Path) -> None:
    with StoreWriter(folder / "store") as store:
        store.add("a.mp4", torch.zeros(4, 1, 2, 2), "a caption", torch.ones(3, 8))


def write_merge(folder: Path) -> None:
    models = folder / "models"
    merge(models / "base.safetensors", [(models / "lora.safetensors", 1.0)], models / "merged.safetensors", overwrite=True)


def write_folder(folder: Path) -> None:
    whole = WholeFolder(folder / "folders" / "whole")
    try:
        (whole.open() / "file").write_bytes(b"whole")
        whole.move()
    finally:
        whole.close()


LATENT = torch.ones(1, 16, 2, 4, 4)
WRITERS = {
    "merge": write_merge,
    "prompt": lambda folder: prompts.save_prompt(tiny.prompt(3), "mine", overwrite=True),
    "window": lambda folder: store_window("lasting-key", LATENT),
    "window of this process": lambda folder: store_window("key", LATENT),
    "checkpoint": lambda folder: save_checkpoint(folder, 1, {"weights": torch.ones(9)}, keep=2),
    "store": write_store,
    "folder": write_folder,
    "trained": lambda folder: write_tensors(folder / "out" / "trained.safetensors", {"a": torch.ones(9)}, {"made": "here"}),
}


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_part(path.name)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "user_directory", None)
    monkeypatch.setattr(folder_paths, "temp_directory", None)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, prompts.FOLDER, None)
    settle(tmp_path)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts processes in another way")
def test_what_a_killed_writer_leaves_goes_and_what_a_living_one_writes_stays(place):
    script = BESIDE.format(tests=str(host_comfyui.ROOT / "tests"), folder=str(place))
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # others do not outlive a fork
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=one_thread)
    assert process.stdout.readline() == b"ready\n"
    for name, write in WRITERS.items():
        settle(place / name)
        before = parts(place / name)
        assert len(before) == 2, name
        write(place / name)
        left = parts(place / name)
        assert len(left) == 1 and left[0] in before, name
    process.communicate()
    for name, write in WRITERS.items():
        settle(place / name)
        write(place / name)
        if name == "window of this process":  # a folder for each process, which the next one clears
            assert torch.equal(load_window("key"), LATENT)
        else:
            assert not parts(place / name), name


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"window", "window of this process", "folder"}))
def test_a_disk_that_is_full_is_told_in_words(place, name):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written: the disk takes no file of this size"):
            WRITERS[name](place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not parts(place)
    WRITERS[name](place)


@pytest.mark.parametrize("name", ["prompt", "checkpoint", "store", "trained"])
def test_a_file_where_a_folder_should_be_is_told_in_words(place, name):
    folder = place / {"prompt": "prompts", "checkpoint": "checkpoints", "store": "store", "trained": "out"}[name]
    folder.write_text("in the way")
    with pytest.raises(InputError, match="a file is where its folder should be"):
        WRITERS[name](place)
    assert folder.read_text() == "in the way"


def test_too_small_a_disk_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"the disk is full \(it needs 1000000000.00 GB, and .* are free\)"):
        write_whole(tmp_path / "x", lambda out: pytest.fail("written"), "a", size=10**18)
    usage = shutil.disk_usage(tmp_path)
    with pytest.raises(InputError, match="the disk is full"):
        write_whole(tmp_path / "x", lambda out: pytest.fail("written"), "a", size=(usage.free + usage.total) // 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_or_a_share_of_it_that_fills_up_is_full(tmp_path, number):
    said = str(files.in_words(OSError(number, os.strerror(number)), tmp_path / "x", "x"))
    assert said.startswith("x cannot be written: the disk is full (") and said.endswith(" are free). Make space there.")


def test_the_mode_is_what_the_umask_gives(place):
    umask = os.umask(0o022)
    try:
        for write in WRITERS.values():
            write(place)
    finally:
        os.umask(umask)
    made = [path for path in place.rglob("*") if path.is_file() and path.name not in ("base.safetensors", "lora.safetensors")]
    assert len(made) > len(WRITERS) and {path.stat().st_mode & 0o777 for path in made} == {0o644}


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail(out):
        out.write(b"half")
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        write_whole(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_and_removed_as_a_whole(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "folders" / "whole"
    (path / "old").write_bytes(b"")
    write_folder(tmp_path)
    assert [file.name for file in path.iterdir()] == ["file"] and list(path.parent.iterdir()) == [path]
    with pytest.raises(InputError, match=r"folders.whole cannot be written: the disk is full \(it needs 1000000000.00 GB"):
        WholeFolder(path, size=10**18).open()
    remove_folder(path)
    remove_folder(path)
    assert not list(path.parent.iterdir())


def test_a_part_that_is_taken_for_abandoned_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    """Another writer may lock and remove it before its maker has locked it."""
    locked = files.lock

    def late(file, wait):
        if wait and not late.came:
            late.came = True
            files.remove_abandoned(tmp_path)
        return locked(file, wait)

    late.came = False
    monkeypatch.setattr(files, "lock", late)
    write_whole(tmp_path / "x", lambda out: out.write(b"whole"))
    assert late.came and (tmp_path / "x").read_bytes() == b"whole" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["x.safetensors.{}.part", "x.{}.part", ".step-00000001.pt.{}.part"])
def test_what_version_0_2_0_left_goes_when_its_process_is_gone(tmp_path, name):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old, fresh, living = (tmp_path / name.format(pid) for pid in (ended.pid, ended.pid + 0, os.getpid()))
    for path in (old, living):
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    write_whole(tmp_path / "y", lambda out: out.write(b"whole"))
    assert not old.exists() and living.exists()
    fresh.write_bytes(b"")
    write_whole(tmp_path / "y", lambda out: out.write(b"whole"))
    assert fresh.exists(), "the process may be on another machine"


def test_a_folder_of_which_a_kill_left_the_rest_goes_and_an_empty_one_may_be_taken_from_its_maker(tmp_path, monkeypatch):
    rest = tmp_path / ".whole.pusa-0123456789abcdef.part"
    rest.mkdir()
    (rest / "file").write_bytes(b"")
    made = Path.mkdir

    def taken(path, *arguments, **options):
        made(path, *arguments, **options)
        if is_part(path.name) and not taken.came:
            taken.came = True
            files.remove_abandoned(path.parent)

    taken.came = False
    monkeypatch.setattr(Path, "mkdir", taken)
    write_folder(tmp_path)
    files.remove_abandoned(tmp_path)
    assert taken.came and [path.name for path in tmp_path.rglob("*")] == ["folders", "whole", "file"]


def test_files_of_others_are_left_alone(tmp_path):
    for name in ("x.part", "x.safetensors.0a1b2c3d.part", "x.007.part", ".pusa.part", "x.pusa-0123456789abcdef.part"):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (0, 0))
    before = sorted(tmp_path.iterdir())
    write_whole(tmp_path / "y", lambda out: out.write(b"whole"))
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "y"])


@pytest.mark.parametrize("name, words", [("x" * 300, "longer than the disk takes"), ("a\ud800", "give a file name")])
def test_a_name_for_a_merge_that_no_disk_takes_is_told_in_words(name, words):
    with pytest.raises(InputError, match=words):
        merge_output.output_path(name)
