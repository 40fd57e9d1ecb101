"""What the tests of a cluster share: a folder of ComfyUI for its workers, command lines, and the processes that they leave."""

import json
import os
import subprocess
import time
from pathlib import Path

import psutil
from command_line import GIVEN, command
from host_comfyui import ROOT

from devtools.places import copy_comfyui

STORE = 100 * 2**20  # bytes of an object store
TINY = ("--num_frames", "9", "--width", "32", "--height", "32", "--comfyui_flags=--disable-api-nodes")
KILLER = """
import os, signal, time
from pathlib import Path

if Path(__file__).with_name("SLOW").exists():
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(3), os._exit(0)))


class KillServer:
    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "run", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def run(self, image):
        os.kill(os.getpid(), signal.SIGKILL)


NODE_CLASS_MAPPINGS = {"KillServer": KillServer}
"""


def comfyui_folder(folder: Path) -> Path:
    """ComfyUI of a worker, with a node that kills the server; where there is a file SLOW beside that, it takes seconds to end."""
    copy_comfyui(Path(os.environ["COMFYUI_PATH"]), folder)
    (folder / "custom_nodes" / "kill_server.py").write_text(KILLER)
    return folder


def killing_graph(path: Path) -> str:
    """A graph whose picture goes through the node that kills the server."""
    graph = json.loads((ROOT / "workflows" / "api" / "demo_i2v.json").read_text())
    (picture,) = [id for id, node in graph.items() if node["class_type"] == "LoadImage"]
    for node in graph.values():
        node["inputs"] = {name: ["killer", 0] if value == [picture, 0] else value for name, value in node["inputs"].items()}
    graph["killer"] = {"class_type": "KillServer", "inputs": {"image": [picture, 0]}}
    path.write_text(json.dumps(graph))
    return str(path)


class Line:
    """A command line on a cluster, running.

    Args:
        jobs: {id: keys of its line}.
    """

    def __init__(self, where: str, comfyui: Path, out, jobs: dict, *flags, **environ):
        path = comfyui.with_name(f"jobs-{time.monotonic_ns()}.jsonl")
        path.write_text("".join(json.dumps({"id": id} | keys) + "\n" for id, keys in jobs.items()))
        words = ("--jobs", path, "--ray", where, "--comfyui", comfyui, "--image_paths", GIVEN / "nano_00.png", *TINY, *flags)
        self.said = comfyui.with_name(f"{path.stem}.log")
        self.process = subprocess.Popen(
            command("i2v", out, *words), cwd=ROOT, stdout=open(self.said, "w"), stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | environ,
        )  # fmt: skip

    def text(self) -> str:
        return self.said.read_text()

    def until(self, condition, seconds: float = 240.0) -> None:
        """Wait for something that happens while it runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"it did not happen:\n{self.text()}")
            time.sleep(0.05)

    def end(self, code: int, seconds: float = 300.0) -> str:
        """Wait for its end; returns what it said."""
        try:
            assert self.process.wait(seconds) == code, self.text()
        finally:
            self.process.kill()
        return self.text()


def servers(comfyui: Path) -> list:
    """The processes of ComfyUI that were started from a folder."""
    main = str(comfyui / "main.py")
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if main in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def all_whole(out: Path, ids) -> dict:
    """Check that there are these videos alone, each with the record that is its own; returns {id: (bytes, time)}."""
    names = {f"{id}.{suffix}" for id in ids for suffix in ("mp4", "json")}
    assert {path.name for path in out.iterdir()} - {"failures.jsonl"} == names
    for id in ids:
        assert json.loads((out / f"{id}.json").read_text())["bytes"] == (out / f"{id}.mp4").stat().st_size > 0
        assert b"moov" in (out / f"{id}.mp4").read_bytes()
    return {id: ((out / f"{id}.mp4").read_bytes(), (out / f"{id}.mp4").stat().st_mtime_ns) for id in ids}


def failures(out: Path) -> dict:
    """{id: (reason, tries)} of the file."""
    lines = map(json.loads, (out / "failures.jsonl").read_text().splitlines())
    return {line["id"]: (line["reason"], line["tries"]) for line in lines}
