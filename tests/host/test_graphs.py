"""Every ready graph that asks for downloads runs on a real server: small networks under the names of its files, a small picture.

Those of the embedded model run from the page (`tests/browser`). Nothing is changed but sizes, steps, the length where a network
is slow, and the text encoder of 5 GB, in whose place there are stored prompts.
"""

import asyncio
import os
import sys

import av
import host_comfyui
import pytest
import real_names

from benchmarks.real.graphs import FOLDER, graph_of, with_numbers, with_stored_prompts
from cli.client import ComfyClient
from cli.server import ComfyServer, cpu_arguments

NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if "nano" not in path.read_text(encoding="utf-8"))
SMALL = {"width": 64, "height": 64, "steps": 2, "tile_size": 64}
MOCHI = {"length": 25, "overlap": 7}
MOCHI_NEW = {"PusaExtendVideo": 6, "PusaTransition": 11}  # frames
JOINED = {"PusaExtendVideo", "PusaTransition"}  # what comes out is longer than what went in
NO_VIDEO = {"PusaMergeLora": "diffusion_models", "PusaSavePrompt": "prompts"}  # and the folder of what they write


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base directory with the pack, the stand-ins, and a file of the right name for each that the graphs choose."""
    base = tmp_path_factory.mktemp("graphs")
    for folder in ("custom_nodes", "output"):
        (base / folder).mkdir()
    os.symlink(host_comfyui.ROOT, base / "custom_nodes" / "pusa", target_is_directory=True)
    code = f"import sys; sys.path[:0] = {[str(host_comfyui.ROOT / 'tests' / 'host')]!r}; from stand_ins import *\n"
    (base / "custom_nodes" / "stand_in.py").write_text(code)
    real_names.write_all(base, NAMES)
    return base


@pytest.fixture(scope="module")
def server(base):
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=cpu_arguments(sys.executable)) as server:
        yield server


def small(graph):
    """The graph at a small size, with stored prompts, and the classes of its nodes."""
    classes = {node["class_type"] for node in graph.values()}
    is_mochi = any("mochi" in str(node["inputs"].get("vae_name")) for node in graph.values())
    prompts = {word: f"{'mochi' if is_mochi else 'wan'}_{word}.safetensors" for word in ("positive", "negative")}
    graph = with_numbers(with_stored_prompts(graph, prompts), SMALL | (MOCHI if is_mochi else {}))
    for node in graph.values():
        given = node["inputs"]
        if is_mochi and node["class_type"] in JOINED:
            given["new_frames"] = MOCHI_NEW[node["class_type"]]
        if is_mochi and "positions" in given:
            given["positions"] = given["positions"].replace("78", "12")
    return graph, classes


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_runs(base, server, name):
    graph, classes = small(graph_of(name))
    lengths = {node["inputs"]["length"] for node in graph.values() if isinstance(node["inputs"].get("length"), int)}
    lengths |= {node["inputs"]["value"] for node in graph.values() if node["_meta"]["title"] == "Length"}
    folder = next((base / "models" / room for kind, room in NO_VIDEO.items() if kind in classes), None)
    before = set(folder.iterdir()) if folder else set()

    async def run():
        async with ComfyClient(server.url) as client:
            return await client.run(graph)

    files = [file for file in asyncio.run(run()) if file.filename.endswith(".mp4")]
    if folder:
        assert set(folder.iterdir()) > before and not files
        return
    frames = [frames_of(file.path(base)) for file in files]
    assert frames and all(len(each) > 1 and each[0] != each[-1] for each in frames)
    if classes & JOINED:
        given = len(frames_of(base / "input" / "harbour_before.mp4"))
        assert all(len(each) > given for each in frames)
    else:
        assert {len(each) for each in frames} == {max(length for length in lengths if isinstance(length, int))}


def frames_of(path):
    """The bytes of every frame of a film."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]
