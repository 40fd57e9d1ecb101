"""What holds without a cluster: who imports Ray, what is said where there is none, and what goes to workers."""

import ast
import asyncio
import inspect
import json
import os
import pickle
import subprocess
import sys
import time

import pytest
from command_line import GIVEN
from host_comfyui import ROOT

from cli.__main__ import planned
from cli.farm import driver
from cli.farm.driver import Farm, kind_of
from cli.farm.failures import grouped
from cli.farm.worker import Worker
from cli.flags import parse
from cli.progress import Board
from cli.storage import Remote

PICTURE = str(GIVEN / "nano_00.png")
ONE = ("i2v", "--model", "nano", "--image_paths", PICTURE)
LISTED = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def without_ray(*arguments) -> subprocess.CompletedProcess:
    """A command line in a Python that has no Ray."""
    program = "import sys; sys.modules['ray'] = None; from cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_without_ray_the_flag_says_what_to_install(tmp_path):
    done = without_ray(*ONE, "--output_dir", str(tmp_path), "--ray", "auto", "--comfyui", "ComfyUI")
    assert done.returncode == 2
    assert done.stderr == 'Error: --ray needs Ray in this Python: pip install "ray>=2.60"\n'


def test_without_ray_everything_else_is_as_ever():
    done = without_ray(*ONE, "--dry_run")
    assert done.returncode == 0 and json.loads(done.stdout)


def test_only_the_farm_imports_ray_and_only_where_it_is_used():
    found = []
    for path in (ROOT / name for name in LISTED if not name.startswith("tests/")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in getattr(node, "names", ())] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.partition(".")[0] == "ray" for name in names):
                found.append((path.parent.relative_to(ROOT).as_posix(), node in tree.body))
    assert found and {place for place, _ in found} <= {"cli/farm", "benchmarks/cluster"}
    assert not any(at_the_top for _, at_the_top in found)


def test_an_actor_makes_one_job_at_a_time():
    """One coroutine method would let Ray run a thousand calls at once."""
    methods = [method for _, method in inspect.getmembers(Worker, inspect.isfunction)]
    assert len(methods) > 5
    assert not [method for method in methods if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)]


@pytest.mark.parametrize("folder", ["path", "url"])
def test_a_job_goes_to_another_process_as_it_is(folder, tmp_path):
    ((job,), _) = planned(parse(list(ONE)), tmp_path if folder == "path" else Remote("memory://a"))
    assert pickle.loads(pickle.dumps(job)) == job


def test_jobs_that_share_models_and_sizes_follow_each_other(tmp_path):
    lines = [{"id": f"job{n}", "seed": n, "width": 32 * (1 + n % 2), "lora_path": "ab"[n % 4 // 2]} for n in range(8)]
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    given = parse([*ONE, "--jobs", str(path), "--ray", "auto", "--comfyui", "ComfyUI"])
    jobs, _ = planned(given, tmp_path)

    def changes(jobs) -> int:
        kinds = [kind_of(job.filled.graph) for job in jobs]
        assert len({str(kind) for kind in kinds}) == 4
        return sum(one != other for one, other in zip(kinds, kinds[1:]))

    taken = [task.job for task in Farm(given, tmp_path, Board(len(jobs))).take(jobs).waiting]
    assert sorted(job.name for job in taken) == sorted(job.name for job in jobs)
    assert changes(taken) == 3 < changes(jobs)


def test_a_wish_to_stop_while_workers_are_sent_home_interrupts_none(tmp_path):
    """As it comes when the last job is done: at once it would leave a ComfyUI."""
    farm = Farm(parse([*ONE, "--ray", "auto", "--comfyui", "ComfyUI"]), tmp_path, Board(0))

    async def stopped() -> list:
        home, went = asyncio.Event(), []

        async def leave() -> None:
            await home.wait()
            went.append("home")

        hired = farm._hired()
        hired.leaving = True
        farm.staff = {asyncio.create_task(leave()): hired}
        running = asyncio.create_task(farm.run())
        for _ in range(3):
            await asyncio.sleep(0)
            running.cancel()
        home.set()
        await asyncio.wait({running})
        return went

    assert asyncio.run(stopped()) == ["home"] and not farm.staff


def test_that_no_machine_has_room_is_told_while_it_is_waited_for(tmp_path, monkeypatch, capsys):
    """Once, and long before it is given up."""
    monkeypatch.setattr(driver, "told", lambda gpus: f"none has {gpus}")
    farm = Farm(parse([*ONE, "--ray", "auto", "--comfyui", "ComfyUI"]), tmp_path, Board(1))
    too_long, said = [], []
    for waited in (driver.SOON / 2, driver.SOON + 1, driver.SOON + 2, farm.patience + 1):
        farm.seen = time.monotonic() - waited
        too_long.append(asyncio.run(farm._too_long()))
        said.append(capsys.readouterr().out)
    assert too_long == [False, False, False, True]
    assert said == ["", "Waiting for a machine with room for ComfyUI, up to 300 s: none has 1\n", "", ""]


def test_one_reason_is_told_once():
    failures = {f"job{n}": "no file" for n in range(5)} | {"other": "no node"}
    assert grouped(failures) == {"job0, job1, job2 and 2 more": "no file", "other": "no node"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--ray", "auto"), "--ray needs --comfyui DIR"),
        (("--ray", "auto", "--comfyui", "a", "--server", "http://a"), "--ray and --server cannot be given together"),
        (("--ray", "somewhere", "--comfyui", "a"), "'somewhere' is not auto, local or HOST:PORT"),
        (("--ray", "ray://a:10001", "--comfyui", "a"), "'ray://a:10001' is not auto, local or HOST:PORT"),
        (("--retries", "3"), "--retries goes with --ray"),
        (("--comfyui", "a"), "--comfyui goes with --ray"),
        (("--comfyui_flags=--fast '",), "cannot be split into flags: No closing quotation"),
        (("--comfyui_flags=--lowvram --port=8188",), "--port=8188 cannot be given: each worker has its own port and folders"),
    ],
)
def test_flags_of_a_cluster_are_refused_where_they_cannot_be(capsys, more, words):
    with pytest.raises(SystemExit):
        parse([*ONE, *more])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("python", "there"), [("python3", "python3"), ("venv/bin/python", os.path.abspath("venv/bin/python"))])
def test_a_path_is_that_of_this_folder_on_workers_too(python, there):
    """They have other working directories; a name is looked for."""
    given = parse([*ONE, "--ray", "auto", "--comfyui", "ComfyUI", "--comfyui_python", python])
    assert (given.comfyui, given.comfyui_python) == (os.path.abspath("ComfyUI"), there)
