"""Commands that are killed, share a folder, are stopped, and go on; model files that are replaced."""

import os
import shutil
import signal

import pytest
from farms import Line, all_whole, servers, wait_for

pytest.importorskip("ray", reason='Ray is not installed: pip install "ray>=2.60"')
pytestmark = pytest.mark.ray
STEPS = {"num_inference_steps": 30}
OWN = "own_prompt.safetensors"


@pytest.fixture(scope="module")
def prompt(comfyui):
    """A prompt that some jobs take and others do not."""
    path = comfyui / "models" / "prompts" / OWN
    shutil.copy(path.with_name("nano_positive.safetensors"), path)
    return path


@pytest.fixture(scope="module")
def jobs(prompt):
    return {f"job{number}": {"seed": number, **STEPS} | ({"prompt_file": OWN} if number < 2 else {}) for number in range(6)}


@pytest.fixture(scope="module")
def killed(head, comfyui, jobs, tmp_path_factory):
    """A folder in which a command that was killed has made some videos: (folder, its lines, what was there)."""
    out = tmp_path_factory.mktemp("commands") / "out"
    line = Line(head, comfyui, out, jobs, "--gpus_per_job", "0")
    line.until(lambda: line.text().count(": done, ") == 2)
    os.kill(line.process.pid, signal.SIGKILL)
    line.process.wait()
    wait_for(lambda: not servers(comfyui), 15)
    return out, {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}


def test_a_command_that_is_killed_leaves_no_server_and_nothing_half_written(killed):
    out, there = killed
    assert len([path for path in there if path.suffix == ".mp4"]) >= 2
    all_whole(out, [path.stem for path in there if path.suffix == ".mp4"])


@pytest.fixture(scope="module")
def both(killed, head, comfyui, jobs):
    """Two commands that go on at once with what the killed one has left; what they said."""
    out, _ = killed
    lines = [Line(head, comfyui, out, jobs, "--gpus_per_job", "0", "--wait", "200") for _ in range(2)]
    return [line.end(0) for line in lines]


def test_two_commands_on_one_folder_make_what_is_missing_with_records_that_match(killed, both, jobs):
    out, there = killed
    all_whole(out, jobs)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in there} == there
    before = len([path for path in there if path.suffix == ".mp4"])
    for said in both:
        assert f"{len(jobs) - before} done, {before} done before, 0 failed, of {len(jobs)}." in said


def test_a_replaced_model_file_makes_its_jobs_new_and_no_other(killed, both, prompt, head, comfyui, jobs, empty):
    out = killed[0]
    first = all_whole(out, jobs)
    before = prompt.stat()
    os.utime(prompt, (before.st_atime, before.st_mtime + 60))
    said = Line(head, comfyui, out, jobs, "--gpus_per_job", "0").end(0)
    assert "2 done, 4 done before, 0 failed, of 6." in said
    videos = {path.stem for path in out.glob("*.mp4")}
    new = videos - jobs.keys()
    assert {name.partition("_")[0] for name in new} == {"job0", "job1"} and len(new) == 2
    after = all_whole(out, videos)
    assert {id: after[id] for id in jobs} == first
    assert empty() == []  # that of the killed command too


def test_a_worker_that_is_slow_to_end_may_put_its_things_away(head, comfyui, empty, tmp_path):
    """One of the two is sent home while the last job runs, or while it starts."""
    slow = comfyui / "custom_nodes" / "SLOW"
    slow.touch()
    try:
        jobs = {"a": {"num_inference_steps": 30}, "b": {"num_inference_steps": 30}}
        said = Line(head, comfyui, tmp_path / "out", jobs, "--gpus_per_job", "0").end(0)
    finally:
        slow.unlink()
    assert "2 done, 0 done before, 0 failed, of 2." in said
    assert not servers(comfyui) and empty() == []


def test_ctrl_c_ends_what_a_command_has_started_and_nothing_else(comfyui, places, empty, tmp_path):
    """Here Ray itself is its own."""
    jobs = {"a": {"num_inference_steps": 2}, "b": {"num_inference_steps": 2000}}
    line = Line("local", comfyui, tmp_path / "out", jobs, "--gpus_per_job", "0")
    line.until(lambda: "b: KSampler" in line.text() and "a: done" in line.text())
    assert servers(comfyui)
    os.killpg(line.process.pid, signal.SIGINT)  # as a terminal does
    said = line.end(130, 60)
    assert "Stopped. The same command goes on with what is missing." in said
    all_whole(tmp_path / "out", ["a"])
    assert not servers(comfyui) and empty() == []
