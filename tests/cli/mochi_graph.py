"""A graph of Mochi for every task: those of Wan2.1 with Mochi's nodes, files and lengths in them."""

import copy
import json
from pathlib import Path

from cli.graph.links import drop, only
from cli.graph.tasks import GRAPHS, TASKS, read_graph

MODEL = {"unet_name": "pusa_v0_dit.safetensors", "lora_name": "none"}
SAMPLING = {"scheduler": "linear_quadratic", "cfg": 4.5}
TILES = {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
CHANGES = {  # type in Wan's graph: type and inputs in Mochi's
    "PusaModelLoader": ("PusaModelLoader", MODEL),
    "VAELoader": ("VAELoader", {"vae_name": "mochi_vae.safetensors"}),
    "CLIPLoader": ("CLIPLoader", {"clip_name": "t5xxl_fp16.safetensors", "type": "mochi"}),
    "EmptyHunyuanLatentVideo": ("EmptyMochiLatentVideo", {"width": 848, "height": 480, "length": 163}),
    "PusaVideoFrames": ("PusaVideoFrames", {"frames": 19}),
    "PusaKSampler": ("PusaKSampler", SAMPLING),
    "PusaExtendVideo": ("PusaExtendVideo", {**SAMPLING, "overlap": 19, "new_frames": 144}),
    "PusaTransition": ("PusaTransition", {**SAMPLING, "overlap": 19, "new_frames": 125}),
    "VAEDecode": ("VAEDecodeTiled", TILES),
    "CreateVideo": ("CreateVideo", {"fps": 30}),
}


def mochi_graph(name: str) -> dict:
    """The graph of a task of the command line, completion too."""
    graph = copy.deepcopy(read_graph(GRAPHS / f"wan21_{'keyframes' if name == 'timeline' else TASKS[name].graph}.json"))
    if name == "timeline":
        as_timeline(graph)
    for node in graph.values():
        node["class_type"], inputs = CHANGES.get(node["class_type"], (node["class_type"], {}))
        node["inputs"] |= inputs
    return graph


def as_timeline(graph: dict) -> None:
    """Put a timeline in the place of keyframes."""
    id = only(graph, "PusaKeyframes")
    for slot in [name for name in graph[id]["inputs"] if name.startswith("images.")]:
        drop(graph, id, slot)
    given = {name: graph[id]["inputs"][name] for name in ("vae", "latent")}
    graph[id] = {"class_type": "PusaTimeline", "inputs": given | {"fps": 0.0, "timeline": ""}}


def mochi_file(name: str, folder: Path) -> Path:
    """A graph of Mochi as a file for --graph."""
    path = folder / f"my_mochi_{name}.json"
    path.write_text(json.dumps(mochi_graph(name)))
    return path
