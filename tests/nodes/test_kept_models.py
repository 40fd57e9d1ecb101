"""Load Model and Load Model Pair in graphs, run by ComfyUI's executor with each of its caches: a file is read when it must be."""

import asyncio
import gc
import os
import weakref

import execution
import folder_paths
import nodes as core_nodes
import pusa
import pytest
import tiny
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from pusa.nodes.shared.kept import Kept
from safetensors.torch import save_file
from server import PromptServer

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
CACHES = [execution.CacheType.CLASSIC, execution.CacheType.LRU, execution.CacheType.RAM_PRESSURE]
LIMITS = {"lru": 100, "ram": 1.0, "ram_inactive": 1e6}  # GB; what is not in use goes at once, as on machines with less than 128
LOADER = {"unet_name": "wan.safetensors", "weight_dtype": "default", "lora_name": "lora.safetensors", "strength": 1.4}
PAIR = {f"{key}_{which}": LOADER[key] for which in ("high", "low") for key in ("lora_name", "strength")}
PAIR |= {"unet_name_high": "wan.safetensors", "unet_name_low": "wan_low.safetensors", "weight_dtype": "default"}
SEEN: list[weakref.ref] = []


class LookAtModel(io.ComfyNode):
    """An output node that sees which MODEL it is given, and does not hold it."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Model.Input("model"), io.Int.Input("seed")]
        return io.Schema(node_id="LookAtModel", display_name="Look", category="tests", is_output_node=True, inputs=inputs)

    @classmethod
    def execute(cls, model, seed):
        SEEN.append(weakref.ref(model))
        return io.NodeOutput()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """ComfyUI's folders with two models and two LoRAs; the nodes that the graphs are made of."""
    for name in ("loras", "diffusion_models"):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(tmp_path / name)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for name, node in (NODES | {"LookAtModel": LookAtModel}).items():
        monkeypatch.setitem(core_nodes.NODE_CLASS_MAPPINGS, name, node)
    for name, seed in (("wan", 0), ("wan_low", 10)):
        save_file(tiny.wan_weights(seed), tmp_path / "diffusion_models" / f"{name}.safetensors")
    for name, seed in (("lora", 2), ("other", 3)):
        save_file(tiny.lora_weights(seed), tmp_path / "loras" / f"{name}.safetensors")
    SEEN.clear()
    return tmp_path


@pytest.fixture
def queue(folder, monkeypatch):
    """Run a graph of one loader with a cache of a kind; returns references to the MODEL that each look was given."""
    monkeypatch.setattr(PromptServer, "instance", None, raising=False)
    monkeypatch.setattr(folder_paths, "user_directory", str(folder / "user"))
    executors = {}

    def run(cache, inputs, loader="PusaModelLoader", seed=0, outputs=1):
        if cache not in executors:
            executors[cache] = execution.PromptExecutor(PromptServer(asyncio.new_event_loop()), cache, LIMITS)
        graph = {"1": {"class_type": loader, "inputs": inputs}} if loader else {}
        for i in range(outputs):
            link = ["1", i] if loader else ["2", 0]
            graph[f"look{i}"] = {"class_type": "LookAtModel", "inputs": {"model": link, "seed": seed}}
        if not loader:
            graph["2"] = {"class_type": "UNETLoader", "inputs": {"unet_name": "wan_low.safetensors", "weight_dtype": "default"}}
        SEEN.clear()
        executor = executors[cache]
        executor.execute(graph, "id", {}, [f"look{i}" for i in range(outputs)])
        errors = [data for event, data in executor.status_messages if event == "execution_error"]
        assert not errors, errors[0]["exception_message"]
        return list(SEEN)

    run.executors = executors
    return run


def living() -> list[int]:
    """How many networks and how many MODELs there are in this process."""
    gc.collect()
    objects = gc.get_objects()
    return [sum(isinstance(each, kind) for each in objects) for kind in (BaseModel, ModelPatcher)]


every_cache = pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.name)


@every_cache
def test_another_strength_or_lora_reads_the_model_file_no_more(queue, cache):
    (first,) = queue(cache, LOADER)
    network = weakref.ref(first().model)
    assert queue(cache, LOADER, seed=1)[0]() is first(), "the loader was not at work"
    del first
    for changed in ({"strength": 1.2}, {"lora_name": "other.safetensors"}, {"distill_lora_name": "other.safetensors"}):
        (model,) = queue(cache, LOADER | changed)
        assert model().model is network(), changed
        queue(cache, LOADER | changed, seed=2)
    (model,) = queue(cache, LOADER | {"strength": 1.25})
    assert {patch[0] for patches in model().patches.values() for patch in patches} == {1.25}


@every_cache
def test_ten_changes_of_strength_leave_one_network_and_no_more_models_than_one_change(queue, cache):
    (networks, _), counts = living(), []
    for i in range(10):
        queue(cache, LOADER | {"strength": 1.0 + 0.1 * i})
        counts += [living()] if i in (1, 9) else []
    assert [count[0] for count in counts] == [networks + 1] * 2
    assert cache is execution.CacheType.LRU or counts[0] == counts[1]  # that one is for keeping every MODEL


@every_cache
@pytest.mark.parametrize("change", ["time", "size"])
def test_a_file_replaced_under_its_name_is_read_anew(queue, folder, cache, change):
    (first,) = queue(cache, LOADER)
    network, path = weakref.ref(first().model), folder / "diffusion_models" / "wan.safetensors"
    weights = tiny.wan_weights(5) if change == "time" else tiny.wan_weights(5, layers=3)
    os.unlink(path)
    save_file(weights, path)
    os.utime(path, (1e9, 1e9))
    inputs = LOADER | ({"lora_name": "deep.safetensors"} if change == "size" else {})
    save_file(tiny.lora_weights(layers=3), folder / "loras" / "deep.safetensors")
    (second,) = queue(cache, inputs)
    assert second().model is not network()
    held = second().model.diffusion_model.state_dict()["blocks.0.self_attn.q.weight"]
    assert bool((held == weights["blocks.0.self_attn.q.weight"]).all())
    gc.collect()
    assert cache is execution.CacheType.LRU or network() is None


@every_cache
def test_a_lora_replaced_under_its_name_is_read_anew(queue, folder, cache):
    (first,) = queue(cache, LOADER)
    network, path = first().model, folder / "loras" / "lora.safetensors"
    os.unlink(path)
    save_file(tiny.lora_weights(7), path)
    (second,) = queue(cache, LOADER)
    assert second().model is network
    (patch,) = second().patches["diffusion_model.blocks.0.ffn.0.weight"]
    assert bool((patch[1].weights[0] == tiny.lora_weights(7)["blocks.0.ffn.0.lora_B.default.weight"]).all())


@every_cache
@pytest.mark.parametrize("end", ["another graph", "another file", "free memory"])
def test_what_is_kept_goes_with_the_graph_the_file_and_the_request_to_free_memory(queue, cache, end):
    (first,) = queue(cache, LOADER)
    network = weakref.ref(first().model)
    if end == "another graph":
        queue(cache, None, loader=None)
    elif end == "another file":
        queue(cache, LOADER | {"unet_name": "wan_low.safetensors"})
    else:
        queue.executors[cache].reset()
    if cache is execution.CacheType.LRU and end != "free memory":
        queue.executors[cache].caches.outputs.cache.clear()  # what ComfyUI keeps itself, as it was asked to
    gc.collect()
    assert network() is None


def test_a_server_that_keeps_nothing_keeps_nothing(queue):
    networks, _ = living()
    for strength in (1.4, 1.5):
        queue(execution.CacheType.NONE, LOADER | {"strength": strength})
        assert living()[0] == networks


@every_cache
def test_of_a_pair_only_the_expert_that_was_changed_is_made_anew(queue, cache):
    high, low = (ref() for ref in queue(cache, PAIR, "PusaModelPairLoader", outputs=2))
    again = [ref() for ref in queue(cache, PAIR | {"strength_low": 1.3}, "PusaModelPairLoader", outputs=2)]
    assert again[0] is high
    assert again[1] is not low and again[1].model is low.model


def test_a_model_that_was_kept_is_warned_of_again(queue, caplog):
    for low in (1.4, 1.3):
        caplog.clear()
        inputs = PAIR | {"strength_high": 0.5, "strength_low": low}
        queue(execution.CacheType.CLASSIC, inputs, "PusaModelPairLoader", outputs=2)
        assert "Pusa): The strength is 0.5;" in caplog.text


def refused(name, inputs, said):
    with pytest.raises(ValueError, match=said) as error:
        NODES[name].execute(**inputs)
    assert str(error.value).startswith(NODES[name].GET_SCHEMA().display_name + ": `") and len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("widget", ["strength_high", "distill_strength_high", "strength_low", "distill_strength_low"])
def test_a_strength_that_is_no_number_is_refused_by_its_own_name(folder, widget, value):
    distilled = {f"distill_lora_name_{which}": "other.safetensors" for which in ("high", "low")}
    refused("PusaModelPairLoader", PAIR | distilled | {widget: value}, f"`{widget}` is")
    single = widget.removesuffix("_high").removesuffix("_low")
    distilled = {"distill_lora_name": "other.safetensors"}
    refused("PusaModelLoader", LOADER | distilled | {single: value}, f"`{single}` is")


@pytest.mark.parametrize("which", ["high", "low"])
@pytest.mark.parametrize("kind", ["", "distill_"])
def test_a_lora_that_does_not_fit_is_refused_by_the_name_of_its_widget(folder, which, kind):
    save_file(tiny.lora_weights(layers=3), folder / "loras" / "deep.safetensors")
    widget = f"{kind}lora_name_{which}"
    refused("PusaModelPairLoader", PAIR | {widget: "deep.safetensors"}, f"`{widget}`: 20 of 60")
    refused("PusaModelPairLoader", PAIR | {widget: "gone.safetensors"}, f"`{widget}`: there is no")


def test_a_model_file_that_is_none_is_refused_in_words(folder):
    for name, content in (("cut", b"\x40\0\0\0\0\0\0\0{"), ("page", b"<html>"), ("empty", b"")):
        (folder / "diffusion_models" / f"{name}.safetensors").write_bytes(content)
    save_file(tiny.lora_weights(), folder / "diffusion_models" / "lora.safetensors")
    for name in ("cut", "page", "empty", "lora", "gone"):
        wrong = "cannot be loaded as a diffusion|there is no file"
        said = refused("PusaModelPairLoader", PAIR | {"unet_name_low": f"{name}.safetensors"}, wrong)
        assert "`unet_name_low`" in said and str(folder) not in said
    assert "the same model" in refused("PusaModelPairLoader", PAIR | {"unet_name_low": "wan.safetensors"}, "`unet_name_high`")


def test_what_was_kept_is_gone_before_the_next_is_made():
    """Two models of 28 GB seldom fit beside each other."""
    kept, there = Kept(), []
    first = weakref.ref(kept.get("model", 1, torch.nn.Module))
    kept.get("model", 2, lambda: there.append(first()))
    assert there == [None]
