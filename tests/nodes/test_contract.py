"""Saved graphs hold the ids of nodes and inputs, the order of widgets and outputs, and choices: they change only with the version.

`contract.json` is a snapshot of what ComfyUI serves of them at /object_info. A line reads `id: TYPE = default (choices)`, with ?
behind the type of an optional input; lists of files, samplers and schedulers are ComfyUI's and left out.
"""

import asyncio
import difflib
import json
import re
from pathlib import Path

import folder_paths
import host_comfyui
import pusa
import pytest
from pusa.nodes import FOR_OTHER_PACKS

CONTRACT = Path(__file__).with_name("contract.json")
VERSION = re.search(r'^version = "(.+)"$', (host_comfyui.ROOT / "pyproject.toml").read_text(), re.M)[1]
EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())


def informed(nodes) -> dict:
    """What ComfyUI serves of some nodes at /object_info."""
    return {node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes}


SERVED = informed(asyncio.run(EXTENSION.get_node_list()))


def line(id: str, kind: str, optional: bool, options: dict) -> str:
    """An input in one line."""
    default = f" = {options['default']}" if options.get("default") is not None else ""
    choices = [] if re.search("name|scheduler", id) else options.get("options", [])
    if "template" in options:
        ((each, (each_kind, _)),) = options["template"]["input"]["required"].items()
        choices = [f"{options['template']['prefix']}0 to {options['template']['max'] - 1}, {each}: {each_kind}"]
    return f"{id}: {kind}{'?' * optional}{default}" + (f" ({', '.join(choices)})" if choices else "")


def lines(info: dict) -> dict:
    """A node of /object_info as it is kept: its inputs in the order of its widgets, and its outputs."""
    groups = [(group, info["input"].get(group, {})) for group in ("required", "optional")]
    inputs = [line(id, spec[0], group == "optional", spec[1]) for group, specs in groups for id, spec in specs.items()]
    return {"inputs": inputs, "outputs": [f"{name}: {kind}" for name, kind in zip(info["output_name"], info["output"])]}


def test_nodes_change_only_with_the_version(tmp_path):
    kept = CONTRACT.read_text()
    nodes, optional = ({name: lines(info) for name, info in each.items()} for each in (SERVED, informed(FOR_OTHER_PACKS)))
    found = json.dumps({"version": VERSION, "nodes": nodes, "optional": optional}, indent=1) + "\n"
    if found == kept:
        return
    new = tmp_path / CONTRACT.name
    new.write_text(found)
    changed = "\n".join(difflib.unified_diff(kept.splitlines(), found.splitlines(), "kept", "found", n=1, lineterm=""))
    first = "raise the version in pyproject.toml and CHANGELOG.md, then " if json.loads(kept)["version"] == VERSION else ""
    pytest.fail(f"The nodes are not those of tests/nodes/{CONTRACT.name}: {first}copy {new} over it.\n{changed}")


def test_a_node_for_another_pack_is_there_where_that_pack_is(tmp_path, monkeypatch):
    """And neither without it nor where it is disabled."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", ([str(tmp_path)], set()))
    assert [node.define_schema().node_id for node in FOR_OTHER_PACKS] == ["PusaApplyConditionRaylight"]

    def served():
        return informed(asyncio.run(EXTENSION.get_node_list())).keys() - SERVED.keys()

    assert not SERVED.keys() & informed(FOR_OTHER_PACKS).keys() and served() == set()
    (tmp_path / "raylight.disabled" / "src" / "raylight").mkdir(parents=True)
    assert served() == set()
    (tmp_path / "raylight.disabled").rename(tmp_path / "raylight")
    assert served() == {"PusaApplyConditionRaylight"}


def renamed(info):
    inputs = info["input"]["required"]
    info["input"]["required"] = {id.replace("noise", "level"): spec for id, spec in inputs.items()}


def reordered(info):
    info["input"]["required"] = dict(reversed(info["input"]["required"].items()))


def another_default(info):
    info["input"]["required"]["noise"][1]["default"] = "0.3"


def another_choice(info):
    info["input"]["required"]["unit"][1]["options"].append("second")


def another_prefix(info):
    info["input"]["required"]["images"][1]["template"]["prefix"] = "picture"


def no_longer_optional(info):
    info["input"]["required"]["condition"] = info["input"]["optional"].pop("condition")


def another_type(info):
    info["output"] = ["LATENT"]


CHANGES = (renamed, reordered, another_default, another_choice, another_prefix, no_longer_optional, another_type)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_snapshot_holds_what_a_saved_graph_depends_on(change):
    info = json.loads(json.dumps(SERVED["PusaKeyframes"]))
    change(info)
    assert lines(info) != lines(SERVED["PusaKeyframes"])
