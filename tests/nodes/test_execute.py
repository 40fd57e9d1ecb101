"""Running a node calls the room below with every input, leaves its inputs alone, and names itself in errors."""

import asyncio
import re

import folder_paths
import pusa
import pytest
import tiny
import torch
from comfy_api.input import LinearCurve
from pusa.pusa_model import encode, prompts, timeline
from pusa.schedulers import flow_match_sigmas
from safetensors.torch import save_file

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.define_schema().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
every_node = pytest.mark.parametrize("name", NODES)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """ComfyUI's folders for LoRAs, stored prompts and previews, with one LoRA and one prompt that is none."""
    for name in ("loras", "diffusion_models", prompts.FOLDER):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(tmp_path / name)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    save_file(tiny.lora_weights(), tmp_path / "loras" / "lora.safetensors")
    for name in ("high", "low"):
        save_file(tiny.wan_weights(), tmp_path / "diffusion_models" / f"wan_{name}_noise.safetensors")
    save_file({"blocks.9.q.diff": torch.zeros(1)}, tmp_path / "loras" / "other.safetensors")
    (tmp_path / prompts.FOLDER / "damaged.safetensors").write_text("")
    return tmp_path


@pytest.fixture
def arguments(folders, wan, vae, positive, negative):
    """Of every node: arguments that work, and a change to them that does not."""
    latent = {"samples": torch.zeros(1, 16, 3, 4, 4), "batch_index": [0]}
    frames = {"samples": torch.randn(1, 16, 2, 4, 4, generator=tiny.seeded(1))}
    pictures = torch.rand(6, 40, 32, 3, generator=tiny.seeded(2))
    condition = timeline.latent_frames(latent["samples"], frames["samples"][:, :, :1], "1", "0.3")
    stored = prompts.save_prompt(positive, "stored", overwrite=False).name
    sampled = {"seed": 1, "steps": 2, "cfg": 3.0, "shift": 5.0, "sampler_name": "euler", "scheduler": "flow_match"}
    common = {"vae": vae, "latent": latent, "noise": "0.2", "fit": encode.FITS[0], "condition": condition}
    joining = {"model": wan, "vae": vae, "video": pictures, "negative": negative, "overlap": 5, "noise": "0..0.5", "fps": 16.0}
    joining |= sampled | {"color_match": 0.5, "cross_fade": 2, "frames_in": "disk"}
    images = {"image0": pictures[:1], "image1": pictures[1:2]}
    pair = {f"unet_name_{which}": f"wan_{which}_noise.safetensors" for which in ("high", "low")}
    loras = {f"lora_name_{which}": "lora.safetensors" for which in ("high", "low")}
    return {
        "PusaModelLoader": (
            {"unet_name": "wan_low_noise.safetensors", "weight_dtype": "default"}
            | {"lora_name": "lora.safetensors", "strength": 1.4},
            {"lora_name": "other.safetensors"},
        ),
        "PusaModelPairLoader": (
            pair | loras | {"weight_dtype": "default", "strength_high": 1.5, "strength_low": 1.4},
            {"unet_name_low": "wan_high_noise.safetensors"},
        ),
        "PusaLoraLoader": (
            {"model": wan, "lora_name": "lora.safetensors", "strength": 1.4},
            {"lora_name": "other.safetensors"},
        ),
        "PusaKeyframes": (
            common | {"images": images, "positions": "0, last", "unit": "frame", "encode": "causal"}
            | {"multipliers": [0.0, 0.5]},
            {"positions": "0, 9"},
        ),
        "PusaVideoFrames": (
            common | {"video": pictures, "take": "end", "frames": 5, "place": "end", "condition": None}
            | {"multipliers": 0.4},
            {"frames": 9},
        ),
        "PusaLatentFrames": (
            {"latent": latent, "frames": frames, "positions": "0, last", "noise": "0.2", "condition": condition}
            | {"multipliers": LinearCurve([(0.0, 0.1), (1.0, 0.7)])},
            {"positions": "0, 1"},
        ),
        "PusaKSampler": (
            {"model": wan, "positive": positive, "negative": negative, "latent_image": latent, "denoise": 1.0}
            | sampled
            | {"condition": condition, "model_low": tiny.wan_model(tiny.wan_weights(10))},
            {"scheduler": "none"},
        ),
        "PusaExtendVideo": (
            joining | {"positive": {"prompt0": positive, "prompt1": negative}, "hops": 2, "direction": "backwards"}
            | {"new_frames": 4, "hop_seed": "fixed", "resample": "keep"},
            {"new_frames": 5},
        ),
        "PusaTransition": (
            joining | {"positive": positive, "new_frames": 3, "video_after": pictures},
            {"video_after": pictures[:4]},
        ),
        "PusaApplyCondition": (
            {"model": wan, "latent": latent, "condition": condition, "shift": 5.0},
            {"latent": frames},
        ),
        "PusaScheduler": ({"steps": 4, "shift": 5.0, "denoise": 1.0}, {"steps": 0}),
        "PusaConditionPlot": ({"condition": condition, "steps": 4, "shift": 5.0}, {"shift": 0.0}),
        "PusaSavePrompt": (
            {"conditioning": negative, "prompt_name": "mine", "overwrite": False},
            {"prompt_name": "../x"},
        ),
        "PusaLoadPrompt": ({"prompt_name": stored}, {"prompt_name": "damaged.safetensors"}),
        "PusaMergeLora": (
            {"base_name": "wan_low_noise.safetensors", "lora_name": "lora.safetensors", "strength": 1.4}
            | {"filename": "merged/wan", "overwrite": True},
            {"lora_name": "other.safetensors"},
        ),
    }


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
        output = NODES[name].execute(**given)
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
        NODES[name].execute(**(given | wrong))


def test_a_stored_prompt_is_read_again_when_its_file_changes(folders, positive, negative):
    fingerprint = NODES["PusaLoadPrompt"].fingerprint_inputs
    prompts.save_prompt(positive, "mine", overwrite=False)
    first = fingerprint("mine.safetensors")
    assert fingerprint("mine.safetensors") == first
    prompts.save_prompt([*positive, *negative], "mine", overwrite=True)
    assert fingerprint("mine.safetensors") != first
