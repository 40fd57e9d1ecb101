"""Flags that choose model files: each lands in its loader, by the name on the server, or the graph's own flags are named."""

import copy

import pytest

from cli.graph.files import INPUTS, base_name, listed_as
from cli.graph.fill import fill
from cli.graph.links import GraphError
from cli.graph.settings import Settings
from cli.graph.tasks import TASKS, task_graph

ONE = ("unet", "lora_path", "vae", "clip")
TWO = ("high_unet", "low_unet", "high_lora_path", "low_lora_path", "vae", "clip")


def filled(model, **flags):
    graph = task_graph(TASKS["t2v"], model, False)[1]
    before = copy.deepcopy(graph)
    return before, fill(graph, TASKS["t2v"], Settings(prompt=("x",), **flags)).graph


@pytest.mark.parametrize("model, flag", [*(("wan21", flag) for flag in ONE), *(("wan22", flag) for flag in TWO), ("mochi", "unet")])
def test_a_file_lands_in_its_loader_and_nowhere_else(model, flag):
    before, after = filled(model, **{flag: "sub/mine.safetensors"})
    changed = {
        (id, name) for id, node in after.items() for name, value in node["inputs"].items() if value != before[id]["inputs"][name]
    }
    assert {name for _, name in changed} == {INPUTS[flag], "text"} and len(changed) == 2
    assert any(node["inputs"].get(INPUTS[flag]) == "mine.safetensors" for node in after.values())


@pytest.mark.parametrize("model, flag", [("wan21", "high_unet"), ("wan22", "unet"), ("wan22", "lora_path")])
def test_a_flag_of_another_kind_of_graph_names_those_that_go(model, flag):
    with pytest.raises(GraphError, match=f"--{flag}: no nodes of the graph have .*it takes .*--vae"):
        filled(model, **{flag: "mine.safetensors"})


@pytest.mark.parametrize("given, name", [
    ("./model_zoo/PusaV1/pusa_v1.pt", "pusa_v1.pt"), ("model_zoo/PusaV1/pusa_v1.pt", "pusa_v1.pt"), ("C:\\models\\a.pt", "a.pt"),
    ("../a.pt", "a.pt"), ("a b.safetensors", "a b.safetensors"),
])  # fmt: skip
def test_a_path_counts_by_its_name(given, name):
    assert base_name(given) == name


@pytest.mark.parametrize("given, name", [
    ("one/a.pt", "one/a.pt"), ("zoo/b.pt", "one/b.pt"), ("b.pt", "one/b.pt"), ("zoo/b.safetensors", "one/b.pt"),
    ("win.pt", "two\\win.pt"), ("a.pt", None), ("zoo/a.safetensors", None), ("c.pt", None),
])  # fmt: skip
def test_a_server_is_asked_for_the_name_then_its_last_part_then_its_stem(given, name):
    """Of two that go, none is taken."""
    assert listed_as(given, ["one/a.pt", "two/a.pt", "one/b.pt", "two\\win.pt"]) == name
