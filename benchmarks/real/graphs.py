"""The ready graphs that are run: which files they name, and how they become small."""

from __future__ import annotations

import json

from hosting.process import ROOT

FOLDER = ROOT / "workflows" / "api"
FOLDERS = {
    "unet": "diffusion_models", "base": "diffusion_models", "vae": "vae", "lora": "loras", "distill": "loras",
    "clip": "text_encoders",
}  # fmt: skip
"""By the first word of an input that names a file."""
FIRST = {"wan22": "wan22_lightx2v_t2v", "wan21": "wan21_t2v", "wan22_5b": "wan22_5b_i2v"}
"""The first graph in the list of templates for each model of the card table."""


def graph_of(name: str) -> dict:
    """A ready graph as the API takes it."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def files_of(graph: dict) -> list[tuple[str, str]]:
    """(folder below models, name) of each model file that a graph names, once."""
    found = {}
    for node in graph.values():
        for key, given in node["inputs"].items():
            start = key.split("_")[0]
            if "_name" in key and start in FOLDERS and given != "none":
                found[FOLDERS[start], given] = None
    return list(found)


def with_stored_prompts(graph: dict, names: dict[str, str]) -> dict:
    """A graph with stored prompts in the place of its text encoder.

    Args:
        names: of the files for "positive" and "negative".
    """
    changed = {id: node for id, node in graph.items() if node["class_type"] != "CLIPLoader"}
    for id, node in changed.items():
        if node["class_type"] == "CLIPTextEncode":
            word = "negative" if "egative" in node["_meta"]["title"] else "positive"
            changed[id] = node | {"class_type": "PusaLoadPrompt", "inputs": {"prompt_name": names[word]}}
    return changed


def with_numbers(graph: dict, numbers: dict[str, int]) -> dict:
    """A graph with other whole numbers for the inputs that have these names, such as `width` and `steps`, linked ones too."""
    changed = {id: node | {"inputs": dict(node["inputs"])} for id, node in graph.items()}
    for node in changed.values():
        given = node["inputs"]
        for key in given.keys() & numbers.keys():
            if isinstance(given[key], int):
                given[key] = numbers[key]
            elif isinstance(given[key], list) and graph[given[key][0]]["class_type"] == "PrimitiveInt":
                changed[given[key][0]]["inputs"]["value"] = numbers[key]
    return changed
