"""Every ready graph for Mochi on a real server, with the reference network in place of the file and a small clip."""

import asyncio
import json
import os
import shutil
import sys

import av
import host_comfyui
import mochi
import pytest
import tiny
from films import write_film
from pusa.pusa_model.prompts.stored import pack_prompt
from safetensors.torch import save_file

from cli.client import ComfyClient
from cli.server import ComfyServer, cpu_arguments

FOLDER = host_comfyui.ROOT / "workflows" / "api"
NAMES = sorted(path.stem for path in FOLDER.glob("mochi_*.json"))
SMALL = {"width": 64, "height": 64, "length": 25, "steps": 2, "tile_size": 64}
JOINED = {"mochi_extension": {"overlap": 7, "new_frames": 6}, "mochi_transition": {"overlap": 7, "new_frames": 11}}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base directory with the pack, the stand-in, and a file of the right name for each that the graphs choose."""
    base = tmp_path_factory.mktemp("mochi")
    for folder in ("custom_nodes", "output", "models/diffusion_models", "models/vae", "models/prompts", "models/text_encoders"):
        (base / folder).mkdir(parents=True)
    os.symlink(host_comfyui.ROOT, base / "custom_nodes" / "pusa", target_is_directory=True)
    shutil.copytree(host_comfyui.ROOT / "assets" / "input", base / "input")
    for film in (base / "input").glob("*.mp4"):
        write_film(film, 24)
    code = f"import sys; sys.path[:0] = {[str(host_comfyui.ROOT / 'tests' / 'host')]!r}; from stand_in_mochi import *\n"
    (base / "custom_nodes" / "stand_in.py").write_text(code)
    for name, (features, options) in {"positive": mochi.random_prompt()[0], "negative": mochi.empty_prompt()[0]}.items():
        tensors, metadata = pack_prompt([[features, options]])
        save_file(tensors, base / "models" / "prompts" / f"{name}.safetensors", metadata)
    loaders = [node["inputs"] for name in NAMES for node in graph_of(name).values()]
    for vae_name in {inputs["vae_name"] for inputs in loaders if "vae_name" in inputs}:
        save_file(mochi.vae_weights(), base / "models" / "vae" / vae_name)
    for unet_name in {inputs["unet_name"] for inputs in loaders if "unet_name" in inputs}:
        save_file(tiny.lora_weights(), base / "models" / "diffusion_models" / unet_name)
    return base


@pytest.fixture(scope="module")
def server(base):
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=cpu_arguments(sys.executable)) as server:
        yield server


def graph_of(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def small(name):
    """A graph at a small size, with stored prompts in the place of the text encoder of 5 GB."""
    graph = {id: node for id, node in graph_of(name).items() if node["class_type"] != "CLIPLoader"}
    for node in graph.values():
        if node["class_type"] == "CLIPTextEncode":
            stored = "positive" if node["inputs"]["text"] else "negative"
            node |= {"class_type": "PusaLoadPrompt", "inputs": {"prompt_name": f"{stored}.safetensors"}}
        given, changes = node["inputs"], SMALL | JOINED.get(name, {})
        given |= {key: value for key, value in changes.items() if isinstance(given.get(key), int)}
        if "positions" in given:
            given["positions"] = given["positions"].replace("78", "12")
    return graph


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_makes_a_video(base, server, name):
    async def run():
        async with ComfyClient(server.url) as client:
            return await client.run(small(name))

    (file,) = [file for file in asyncio.run(run()) if file.filename.endswith(".mp4")]
    frames, given = count(file.path(base)), count(base / "input" / "harbour_before.mp4")
    assert frames > given if name in JOINED else frames == 25


def count(path):
    """Frames of a film."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
