"""dev.py: what it sets up, what it refuses, and that it leaves nothing half-made."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# At the end: before ComfyUI's folder, our `nodes` would hide its own.
sys.path += [str(ROOT), str(Path(__file__).parent)]

from archives import CHECKOUT, FILES, PREFIX, write_archive  # noqa: E402

from devtools import comfyui, pins, places, venvs  # noqa: E402
from devtools.commands import chosen_comfyui, pytest_arguments  # noqa: E402
from devtools.console import SetupError  # noqa: E402
from devtools.lock import exclusive  # noqa: E402

NEWEST = pins.COMFYUI["0.30.0"]


def dev(*arguments, **environ):
    """Run dev.py in a process of its own."""
    command = [sys.executable, str(ROOT / "dev.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environ, timeout=60)


def fails(match, call, *arguments):
    with pytest.raises(SetupError, match=match):
        call(*arguments)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is all pip may install from."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def log(tmp_path):
    return tmp_path / "setup.log"


# The pinned ComfyUI


def test_the_pinned_archive_becomes_a_checkout_without_the_rest_of_it(index, tmp_path, log):
    _, sha256 = write_archive(index)
    checkout = comfyui.fetch(tmp_path / "cache", replace(NEWEST, sha256=sha256), log)
    assert sorted(path.name for path in checkout.iterdir()) == sorted(comfyui.PARTS)
    assert [path.name for path in checkout.parent.iterdir()] == [checkout.name]
    assert comfyui.existing_checkout(str(checkout)) == checkout

    index.rename(tmp_path / "gone")
    assert comfyui.fetch(tmp_path / "cache", replace(NEWEST, sha256=sha256), log) == checkout


def test_pip_refuses_a_wrong_hash_and_nothing_stays(index, tmp_path, log):
    write_archive(index)
    fails("not the pinned one", comfyui.fetch, tmp_path / "cache", NEWEST, log)
    assert list((tmp_path / "cache" / "comfyui").iterdir()) == []


def test_we_refuse_a_wrong_hash_ourselves(tmp_path):
    archive, sha256 = write_archive(tmp_path)
    comfyui.verify(archive, sha256)
    fails("is not the file that is pinned", comfyui.verify, archive, NEWEST.sha256)


@pytest.mark.parametrize("name", [f"{CHECKOUT}/../../../../evil", f"{PREFIX}/../evil", "/evil", f"{CHECKOUT}/C:\\evil"])
def test_an_archive_that_reaches_outside_is_refused(tmp_path, name):
    archive, _ = write_archive(tmp_path, FILES | {name: "evil"})
    fails("outside its folder", comfyui.extract, archive, CHECKOUT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_with_a_link_is_refused(tmp_path):
    archive, _ = write_archive(tmp_path, links=[(f"{CHECKOUT}/link", "/etc")])
    fails("neither a file nor a folder", comfyui.extract, archive, CHECKOUT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# An existing ComfyUI


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    result = dev("setup", COMFYUI_PATH=str(tmp_path))
    assert result.returncode == 1
    assert f"COMFYUI_PATH is {tmp_path}, which is not a ComfyUI checkout: main.py" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_line_decides_before_the_environment():
    environ = {"COMFYUI_PATH": "elsewhere", "PUSA_COMFYUI": "0.27.0"}
    assert chosen_comfyui(None, {}) == ("0.30.0", "")
    assert chosen_comfyui(None, environ) == ("0.27.0", "elsewhere")
    assert chosen_comfyui("0.18.2", environ) == ("0.18.2", "")
    fails("PUSA_COMFYUI is 9", chosen_comfyui, None, {"PUSA_COMFYUI": "9"})


# The environment


def test_every_pin_counts_in_the_key_and_line_ends_do_not():
    keys = [
        pins.environment_key("numpy\n"),
        pins.environment_key("numpy>=2\n"),
        pins.environment_key("numpy\n", torch=("torch==2.11.0", pins.TORCH[1])),
        pins.environment_key("numpy\n", tests=pins.TESTS[1:]),
        pins.environment_key("numpy\n", python="cpython-310 win-amd64"),
    ]
    assert len(set(keys)) == len(keys)
    assert pins.environment_key("numpy\r\n") == keys[0]


def test_an_environment_without_its_stamp_is_built_again(tmp_path, log):
    venv = tmp_path / "env"
    (venv / "lib").mkdir(parents=True)
    (venv / "lib" / "half-installed").touch()
    assert not venvs.ready(venv)
    venvs.build(venv, [], log)
    assert venvs.ready(venv)
    assert not (venv / "lib" / "half-installed").exists()


def test_a_failed_installation_leaves_nothing_and_says_what_to_do(index, tmp_path, log):
    steps = [("Installing what is not there", ["no-such-package==1.0"])]
    fails(r"(?s)No matching distribution.*setup\.log.*no such package", venvs.build, tmp_path / "env", steps, log)
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "not the pinned one"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution", "HTTPS_PROXY"),
        ("ERROR: No matching distribution found for torch==2.12.0", "another Python version"),
    ],
)
def test_advice_fits_the_failure(output, words):
    assert words in venvs.advice(output)


def test_an_unreachable_index_is_called_that(index, tmp_path, log, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    steps = [("Installing", ["pytest"])]
    fails("index could not be reached", venvs.build, tmp_path / "env", steps, log)


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path):
    fails("GB free", places.check_disk, tmp_path / "not" / "yet", 1e9)
    assert not (tmp_path / "not").exists()


# Two at once


def test_a_second_set_up_waits_for_the_first_and_survives_its_death(tmp_path):
    lock = tmp_path / "setup.lock"
    code = f"import pathlib, time; from devtools.lock import exclusive\nwith exclusive(pathlib.Path({str(lock)!r})):\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", code + "    print('held', flush=True); time.sleep(60)"], stdout=subprocess.PIPE, cwd=ROOT
    )
    holder.stdout.readline()
    waiter = subprocess.Popen([sys.executable, "-c", code + "    print('mine')"], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(1.5)
    holder.kill()
    printed, _ = waiter.communicate(timeout=10)
    holder.wait()
    holder.stdout.close()
    assert "Another set-up is at work" in printed
    assert printed.endswith("mine\n")
    with exclusive(lock):
        pass


# The base directory


def test_the_base_directory_holds_only_a_link_to_the_clone(tmp_path):
    clone = tmp_path / "clone"
    clone.mkdir()
    base = places.prepare_base(tmp_path / "base", clone)
    assert [path.name for path in (base / "custom_nodes").iterdir()] == ["pusa"]
    assert (base / "custom_nodes" / "pusa").samefile(clone)


def test_a_link_to_somewhere_else_is_put_right(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    places.prepare_base(tmp_path / "base", tmp_path / "old")
    shutil.rmtree(tmp_path / "old")
    base = places.prepare_base(tmp_path / "base", tmp_path / "new")
    assert (base / "custom_nodes" / "pusa").samefile(tmp_path / "new")


# The commands


def test_a_second_set_up_is_quick_and_needs_no_network():
    started = time.monotonic()
    closed = "http://127.0.0.1:9"
    result = dev("setup", PIP_INDEX_URL=closed, PIP_CONFIG_FILE=os.devnull, HTTP_PROXY=closed, HTTPS_PROXY=closed)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Ready.")
    assert time.monotonic() - started < 10


def test_run_is_inside_the_environment_and_keeps_the_exit_code():
    code = "import os, sys, torch; print(sys.argv[1:], sys.prefix, os.environ['COMFYUI_PATH']); sys.exit(37)"
    result = dev("run", "--", "python", "-c", code, "a b", "--", "--help")
    assert result.returncode == 37, result.stderr
    assert result.stdout.split("\n")[0] == f"['a b', '--', '--help'] {sys.prefix} {os.environ['COMFYUI_PATH']}"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a POSIX matter")
def test_run_hands_signals_on():
    result = dev("run", "--", "python", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert result.returncode == -signal.SIGTERM


@pytest.mark.parametrize("cores, processes", [(1, 1), (2, 2), (64, 4)])
@pytest.mark.parametrize("given", [[], ["-k", "nodes"]])
def test_all_tests_are_spread_over_the_cores(given, cores, processes):
    assert pytest_arguments(given, cores) == [f"--numprocesses={processes}", "--dist=loadfile", *given, "tests"]


@pytest.mark.parametrize("given", [["-x", "tests/dev/test_dev.py::test_advice_fits_the_failure"], [str(ROOT / "tests")]])
def test_tests_that_are_named_run_in_one_process(given):
    assert pytest_arguments(given, 2) == given


@pytest.mark.parametrize("arguments", [["run"], ["demo", "--nonsense"], ["--comfyui", "9.9", "setup"], []])
def test_a_wrong_command_line_is_explained(arguments):
    result = dev(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: dev.py")


def test_an_old_python_gets_a_sentence():
    code = "import sys; sys.version_info = (3, 9); sys.argv = ['dev.py']; exec(open('dev.py').read())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr == "dev.py needs Python 3.10 or newer; this is Python 3.9.\n"
