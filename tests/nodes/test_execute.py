"""Running a node calls the room below with every input, leaves its inputs alone, and names itself in errors."""

import asyncio
import re

import comfy.utils
import host_comfyui
import pusa
import pytest
import torch
from pusa.nodes import extend
from pusa.pusa_model import sampling
from pusa.pusa_model.prompts import stored as prompts
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import flow_match_sigmas

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.define_schema().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
every_node = pytest.mark.parametrize("name", NODES)


def snapshot(value):
    """A copy of a value that a graph passes on, comparable with ``==``."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.detach().clone().contiguous().view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [snapshot(item) for item in value]
    if hasattr(value, "model_options"):
        weights = snapshot(value.model.diffusion_model.state_dict())
        return (
            weights,
            value.patches_uuid,
            repr((value.patches, value.object_patches, value.model_options, value.wrappers)),
        )
    if hasattr(value, "first_stage_model"):
        return snapshot(value.first_stage_model.state_dict())
    return snapshot(vars(value)) if hasattr(value, "__dict__") else value


@every_node
def test_a_node_runs_and_leaves_its_inputs_alone(name, arguments):
    given, _ = arguments[name]
    before = snapshot(given)
    with torch.inference_mode():
        output = NODES[name].execute(**host_comfyui.passed(NODES[name], given))
    assert snapshot(given) == before
    assert len(output.result or ()) == len(NODES[name].define_schema().outputs)


def test_condition_nodes_hand_every_input_to_the_timeline(arguments):
    rooms = {
        "PusaKeyframes": timeline.keyframes,
        "PusaVideoFrames": timeline.video_frames,
        "PusaLatentFrames": timeline.latent_frames,
    }
    for name, room in rooms.items():
        given, _ = arguments[name]
        direct = {"mode" if key == "encode" else key: value for key, value in given.items()}
        direct |= {key: direct[key]["samples"] for key in ("latent", "frames") if isinstance(direct.get(key), dict)}
        with torch.inference_mode():
            (condition,) = NODES[name].execute(**given).result
            assert snapshot(condition) == snapshot(room(**direct)), name


def test_multipliers_over_the_socket_take_the_place_of_noise(arguments):
    found = {"PusaKeyframes": (0.0, 0.5), "PusaVideoFrames": (0.4,), "PusaLatentFrames": (0.1, 0.7)}
    for name, multipliers in found.items():
        given, _ = arguments[name]
        with torch.inference_mode():
            (condition,) = NODES[name].execute(**given).result
            assert condition.multipliers[-len(multipliers) :] == multipliers
            with pytest.raises(ValueError, match="`multipliers` is 1.5 for condition frame 1"):
                NODES[name].execute(**(given | {"multipliers": 1.5}))


def test_the_scheduler_node_gives_the_official_grid():
    (sigmas,) = NODES["PusaScheduler"].execute(steps=7, shift=3.0, denoise=0.5).result
    assert torch.equal(sigmas, flow_match_sigmas(7, 3.0, 0.5))


@every_node
def test_an_error_begins_with_the_name_of_the_node(name, arguments):
    given, wrong = arguments[name]
    display_name = NODES[name].define_schema().display_name
    with torch.inference_mode(), pytest.raises(ValueError, match=f"^{re.escape(display_name)}: \\S"):
        NODES[name].execute(**host_comfyui.passed(NODES[name], given | wrong))


def test_a_stored_prompt_is_read_again_when_its_file_changes(folders, positive, negative):
    fingerprint = NODES["PusaLoadPrompt"].fingerprint_inputs
    prompts.save_prompt(positive, "mine", overwrite=False)
    first = fingerprint("mine.safetensors")
    assert fingerprint("mine.safetensors") == first
    prompts.save_prompt([*positive, *negative], "mine", overwrite=True)
    assert fingerprint("mine.safetensors") != first


@pytest.mark.parametrize("cfg_low", [0.0, 1.5])
def test_the_sampler_hands_every_input_to_the_room(arguments, cfg_low):
    """A cfg_low of 0 is that of the high-noise expert."""
    given = arguments["PusaKSampler"][0] | {"boundary": 0.9, "denoise": 0.95}
    direct = given | {"latent": given["latent_image"], "cfg_low": cfg_low or given["cfg"], "warn": lambda text: None}
    del direct["latent_image"]
    with torch.inference_mode():
        (found,) = NODES["PusaKSampler"].execute(**(given | {"cfg_low": cfg_low})).result
        assert snapshot(found) == snapshot(sampling.sample(**direct))


def test_a_long_run_counts_its_steps_and_says_which_hop_it_is_at(arguments, monkeypatch):
    told, said = [], []
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0, raising=False)
    monkeypatch.setattr(extend, "say", lambda cls, text: said.append(text))
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: told.append((value, total)))
    try:
        with torch.inference_mode():
            NODES["PusaExtendVideo"].execute(**(arguments["PusaExtendVideo"][0] | {"seed": 77}))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert [step for step in told if step[1] == 4] == [(1, 4), (2, 4), (3, 4), (4, 4)] and said == ["hop 1 of 2", "hop 2 of 2"]


@pytest.mark.parametrize("socket", ["video", "video_after"])
def test_an_error_names_the_socket_of_its_clip(arguments, socket):
    given, _ = arguments["PusaTransition"]
    with torch.inference_mode(), pytest.raises(ValueError, match=f"`{socket}` has the shape"):
        NODES["PusaTransition"].execute(**(given | {socket: torch.zeros(9, 32, 32, 4)}))
