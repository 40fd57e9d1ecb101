"""Workers, their ComfyUI and jobs that come to grief: the rest is made, and nothing is left behind."""

import os
import signal

import psutil
import pytest
from farms import Line, all_whole, failures, killing_graph, servers, wait_for

pytest.importorskip("ray", reason='Ray is not installed: pip install "ray>=2.60"')
pytestmark = pytest.mark.ray
LONG = {"num_inference_steps": 60}  # some seconds


@pytest.fixture(scope="module")
def ran(head, comfyui, places, tmp_path_factory):
    """One run with every loss in it: (output folder, ids of good jobs, what it said, environment of each ComfyUI, old pids)."""
    folder = tmp_path_factory.mktemp("losses")
    out, broken = folder / "out", folder / "broken.png"
    broken.write_text("this is no picture")
    good = {f"good{number}": {"seed": number, **LONG} for number in range(4)} | {"twin": {"seed": 3, **LONG}}
    bad = {
        "refused1": {"prompt_file": "gone.safetensors"},
        "refused2": {"prompt_file": "gone.safetensors"},
        "raises": {"image_paths": str(broken)},
        "kills": {"graph": killing_graph(folder / "kills.json")},
    }
    line = Line(head, comfyui, out, good | bad, "--retries", "2")
    line.until(lambda: line.text().count(": ComfyUI on ") == 2)
    first = servers(comfyui)
    gpus = sorted(process.environ()["CUDA_VISIBLE_DEVICES"] for process in first)
    line.until(lambda: "good0: " in line.text() and "good1: " in line.text())
    killed = psutil.Process(first[0].ppid())
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(lambda: first[0] not in servers(comfyui), 10)
    line.until(lambda: "it is tried again" in line.text())
    line.until(lambda: "KSampler" in line.text().rpartition(": done")[2] and ": done" in line.text())
    os.kill(first[1].pid, signal.SIGKILL)
    said = line.end(1)
    return out, good, said, gpus, killed


def test_every_good_job_is_made_whatever_befalls_its_worker(ran):
    """A worker and a ComfyUI were killed in the middle of jobs; two jobs are the same graph, and two videos."""
    out, good, said, _, _ = ran
    all_whole(out, good)
    assert "5 done, 0 done before, 4 failed, of 9." in said
    assert "its worker is gone" in said and "ComfyUI was lost" in said


def test_each_failure_has_its_reason_and_its_number_of_tries(ran):
    out, _, said, _, _ = ran
    told = failures(out)
    assert told.keys() == {"refused1", "refused2", "raises", "kills"}
    assert told["kills"][1] == 3 and "was lost each of the 3 times that this ran" in told["kills"][0]
    assert told["raises"][1] == 1 and "(LoadImage) failed: " in told["raises"][0]
    assert told["refused1"][1] == told["refused2"][1] == 1


def test_a_file_that_a_worker_has_not_is_one_failure_that_names_it(ran):
    lines = [line for line in ran[2].splitlines() if line.startswith("Failed: ")]
    assert len(lines) == 3 and ran[2].count("the server has no gone.safetensors") == 1
    (both,) = [line for line in lines if "refused1" in line]
    assert both.startswith("Failed: refused1, refused2: ")


def test_each_worker_has_a_gpu_of_its_own_and_its_comfyui_the_same(ran):
    assert ran[3] == ["0", "1"]  # nine jobs wait, and a third worker too
    assert "GPU 0: ComfyUI on cpu" in ran[2] and "GPU 1: ComfyUI on cpu" in ran[2]


def test_nothing_is_left_of_workers_and_their_servers(ran, comfyui, empty):
    wait_for(lambda: not servers(comfyui), 10)
    assert not ran[4].is_running()
    assert len(empty()) <= 1  # that of the worker that was killed, which the next one that starts there removes
