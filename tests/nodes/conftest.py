"""Arguments for every node of the pack, and ComfyUI's folders with files for them."""

import folder_paths
import pytest
import tiny
import torch
from comfy_api.input import LinearCurve
from pusa.nodes.loaders import PusaModelLoader
from pusa.pusa_model.prompts import stored as prompts
from pusa.pusa_model.timeline import encode
from pusa.pusa_model.timeline import placing as timeline
from safetensors.torch import save_file


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """ComfyUI's folders for LoRAs, stored prompts and previews, with one LoRA and one prompt that is none."""
    for name in ("loras", "diffusion_models", prompts.FOLDER):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(tmp_path / name)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    save_file(tiny.lora_weights(), tmp_path / "loras" / "lora.safetensors")
    for name in ("high", "low"):
        save_file(tiny.wan_weights(), tmp_path / "diffusion_models" / f"wan_{name}_noise.safetensors")
    save_file({"blocks.9.q.diff": torch.zeros(1)}, tmp_path / "loras" / "other.safetensors")
    (tmp_path / prompts.FOLDER / "damaged.safetensors").write_text("")
    return tmp_path


@pytest.fixture
def arguments(folders, wan, vae, positive, negative):
    """Of every node: arguments that work, and a change to them that does not; one of each for a node that takes lists."""
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
        "PusaTimeline": (
            {"vae": vae, "latent": latent, "images": images, "condition": condition, "fps": 0.0}
            | {"timeline": "0: image0, noise 0\nlast: image1, encode still  # the end"},
            {"timeline": "0: image2"},
        ),
        "PusaKeyframes": (
            common | {"images": images, "positions": "0, last", "unit": "frame", "encode": "causal"} | {"multipliers": [0.0, 0.5]},
            {"positions": "0, 9"},
        ),
        "PusaVideoFrames": (
            common | {"video": pictures, "take": "end", "frames": 5, "place": "end", "condition": None} | {"multipliers": 0.4},
            {"frames": 9},
        ),
        "PusaLatentFrames": (
            {"latent": latent, "frames": frames, "positions": "0, last", "noise": "0.2", "condition": condition}
            | {"multipliers": LinearCurve([(0.0, 0.1), (1.0, 0.7)])},
            {"positions": "0, 1"},
        ),
        "PusaSchedule": (
            {"latent": latent, "kind": "delay", "lag": 1, "block": 2, "order": "backward", "steps": 4, "shift": 5.0}
            | {"condition": condition, "sigmas": torch.tensor([1.0, 0.5, 0.0])},
            {"block": 4},
        ),
        "PusaKSampler": (
            {"model": wan, "positive": positive, "negative": negative, "latent_image": latent, "denoise": 1.0}
            | sampled
            | {"condition": condition, "model_low": tiny.wan_model(tiny.wan_weights(10))},
            {"scheduler": "none"},
        ),
        "PusaExtendVideo": (
            joining
            | {"positive": {"prompt0": positive, "prompt1": negative}, "hops": 2, "direction": "backwards"}
            | {"new_frames": 4, "hop_seed": "fixed", "resample": "keep"},
            {"new_frames": 5},
        ),
        "PusaTransition": (
            joining | {"positive": positive, "new_frames": 3, "video_after": pictures},
            {"video_after": pictures[:4]},
        ),
        "PusaRollingVideo": (
            {"model": wan, "positive": {"prompt0": positive, "prompt1": negative}, "negative": negative, "latent": latent}
            | {"seed": 1, "length": 17, "window": 3, "steps": 2, "block": 1, "cfg": 3.0, "shift": 5.0, "condition": condition},
            {"length": 7},
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
        "PusaTrainLora": (
            {"model": PusaModelLoader.execute("wan_low_noise.safetensors", "default", "none", 1.0).result[0], "latents": frames}
            | {"positive": positive, "steps": 2, "learning_rate": 1e-4, "rank": 2, "init_lora": "none", "training_seed": 1}
            | {"run_name": "mine", "resume": True, "batch_size": 1, "grad_accumulation_steps": 1, "p_condition": 0.5}
            | {"save_every": 0, "gradient_checkpointing": True, "blocks_on_cpu": 0},
            {"run_name": "a/b"},
        ),
    }
