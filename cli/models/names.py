"""Model files of a graph on a server: what names stand for, and what is missing."""

import difflib
import re

from ..client import ComfyClient, PromptRejected
from ..graph.files import INPUTS, listed_as

FOLDERS = {"unet": "diffusion_models", "lora": "loras", "vae": "vae", "clip": "text_encoders", "prompt": "prompts"}
NAME = re.compile(r"(?:distill_)?(unet|lora|vae|clip|prompt)_name(?:_high|_low)?")
FLAGS = INPUTS | {"prompt_file": "prompt_name"}
SOURCES = {
    "nano": {"": "`python dev.py serve` starts one that has it"},
    "mochi": {"": "`python dev.py download mochi`"},
    "wan21": {"": "`python dev.py download wan21`", "distill": "`python dev.py download lightx2v`"},
    "wan22": {"": "`python dev.py download wan22`", "distill": "`python dev.py download lightx2v`"},
}  # where the files of the graphs of a family are had
SHOWN, CLOSE = 5, 0.75  # names of an error, and how near one must be to be meant


def model_inputs(graph: dict) -> list:
    """Which inputs name files: [(node, input, folder of the server, name), ...]."""
    return [
        (id, key, FOLDERS[match[1]], value)
        for id, node in graph.items()
        for key, value in node["inputs"].items()
        if isinstance(value, str) and value not in ("", "none") and (match := NAME.fullmatch(key))
    ]


async def with_names_of(client: ComfyClient, graph: dict, paths: dict) -> tuple:
    """A graph with the names that a server has for the files, and {(node, input): what it lists} where it has no such file.

    Args:
        paths: name of a file -> path as it was given.
    """
    named, missing, asked = {id: node | {"inputs": dict(node["inputs"])} for id, node in graph.items()}, {}, {}
    for id, key, _, name in model_inputs(graph):
        kind = graph[id]["class_type"]
        if kind not in asked:
            asked[kind] = (await client.get(f"/object_info/{kind}")).get(kind, {})
        if (listed := choices(asked[kind], key)) is None:
            continue
        there = listed_as(paths.get(name, name), listed)
        if there is None:
            missing[id, key] = listed
        else:
            named[id]["inputs"][key] = there
    return named, missing


def choices(info: dict, name: str) -> list | None:
    """What an input of a node may be, from /object_info; None where it is no choice."""
    for inputs in (info.get("input") or {}).values():
        if name in inputs:
            kind, *options = inputs[name]
            listed = kind if isinstance(kind, list) else options[0].get("options") if kind == "COMBO" and options else None
            return listed if isinstance(listed, list) else None
    return None


def explained(error: PromptRejected, graph: dict, missing: dict, sources: dict, own: dict) -> PromptRejected:
    """A refusal that says for each missing file how to come by it.

    Args:
        missing: of ``with_names_of``.
        sources: where such files are had, for "" or "distill".
        own: names that the user gave, which are had nowhere.
    """
    reports = {}
    for id, report in error.node_errors.items():
        problems = []
        for problem in report["errors"]:
            key = (problem.get("extra_info") or {}).get("input_name")
            if (id, key) in missing and problem.get("type") == "value_not_in_list":
                name = graph[id]["inputs"][key]
                source = None if name in own else sources.get("distill" if key.startswith("distill_") else "")
                words = sentence(key, name, missing[id, key], source)
                problem = {"type": "missing_file", "message": words, "extra_info": {"input_name": key}}
            problems.append(problem)
        reports[id] = report | {"errors": problems}
    return PromptRejected(error.error, reports)


def sentence(key: str, name: str, listed: list, source: str | None) -> str:
    """What to say of a file that a server has not: where it is had, which flag takes another, and what there is."""
    flag = next((f"`--{flag} NAME`" for flag, each in FLAGS.items() if each == key), None)
    ways = ", or ".join(way for way in (source, flag) if way)
    near = difflib.get_close_matches(name, listed, SHOWN, 0.0)
    has = ", ".join(near) + (f" and {len(listed) - len(near)} more" if len(listed) > len(near) else "")
    words = f"the server has no {name}" + (f": {ways}" if ways else "")
    words += f". It has {has}" if near else ". It has none of that kind"
    close = difflib.get_close_matches(name, listed, 1, CLOSE)
    return f"{words}; did you mean {close[0]}?" if close else words
