"""Tiny networks of every class of comfy/ldm/wan, as ComfyUI's own detection loads them, and what can be given to each."""

import json
from dataclasses import dataclass, field
from functools import cache

import comfy.sd
import tiny
import torch
from comfy.ldm.wan import ar_model, model, model_animate, model_wandancer

SIDE, LENGTH = 8, 5  # latent pixels and frames of the clip


def picture(seed, frames=1, channels=16, side=SIDE):
    """Latents of a reference [1, C, frames, side, side]."""
    return torch.randn(1, channels, frames, side, side, generator=tiny.seeded(seed))


@dataclass(frozen=True)
class Relative:
    """A network of a class, and what a prompt can give it beside the text."""

    network: type = model.WanModel
    config: dict = field(default_factory=dict)
    given: dict = field(default_factory=dict)  # options of a CONDITIONING by the name of what they are


def only_told(weights):
    """Weights of a network whose tokens show their own timestep and nothing else."""
    blind = ("patch_embedding", "patch_embedding_pose", "ref_conv")
    silent = (".o.weight", ".ffn.2.weight")
    dark = {key for key in weights if key.endswith(silent) or key.split(".")[0] in blind and key.endswith("weight")}
    alike = {key: weights["patch_embedding.bias"] for key in weights if key.split(".")[0] in blind and key.endswith("bias")}
    return weights | {key: torch.zeros_like(weights[key]) for key in dark} | alike


RELATIVES = {
    "text-to-video": Relative(),
    "Phantom": Relative(given={"references": {"time_dim_concat": picture(1, 2)}}),
    "Bernini": Relative(given={"context": {"context_latents": [picture(1), picture(2, LENGTH)]}}),
    "ref_conv": Relative(config={"in_dim_ref_conv": 16}, given={"reference": {"reference_latents": [picture(1)]}}),
    "image-to-video": Relative(
        config={"channels": 36},
        given={"start": {"concat_latent_image": picture(1, LENGTH), "concat_mask": torch.ones(1, 1, LENGTH, SIDE, SIDE)}},
    ),
    "image-to-video with CLIP": Relative(config={"channels": 36, "model_type": "i2v"}),
    "Fun Control": Relative(
        config={"channels": 48, "in_dim_ref_conv": 16},
        given={"reference": {"reference_latents": [picture(1)]}},
    ),
    "Fun InP": Relative(config={"channels": 52}),
    "VACE": Relative(
        model.VaceWanModel,
        {"vace_layers": 1, "vace_in_dim": 96},
        {"control": {"vace_frames": [picture(1, LENGTH, 32)], "vace_mask": [torch.ones(1, 64, LENGTH, SIDE, SIDE)]}},
    ),
    "Camera": Relative(
        model.CameraWanModel,
        {"channels": 36, "model_type": "camera_2.2"},
        {"path": {"camera_conditions": picture(1, LENGTH, 24, 8 * SIDE)}},
    ),
    "Animate": Relative(
        model_animate.AnimateWanModel,
        {"channels": 36, "layers": 5},
        {"pose": {"pose_video_latent": picture(1, LENGTH - 1)}},
    ),
    "S2V": Relative(
        model.WanModel_S2V,
        {"layers": 1},
        {
            "reference": {"reference_latents": [picture(1)]},
            "motion": {"reference_latents": [picture(1)], "reference_motion": picture(2, 19)},
        },
    ),
    "HuMo": Relative(model.HumoWanModel, given={"reference": {"reference_latents": [picture(1, 2)]}}),
    "SCAIL": Relative(
        model.SCAILWanModel,
        {"channels": 20},
        {
            "reference": {"reference_latents": [picture(1)]},
            "half-size poses": {"pose_video_latent": picture(2, LENGTH, side=SIDE // 2)},
            "both": {"reference_latents": [picture(1)], "pose_video_latent": picture(2, LENGTH, side=SIDE // 2)},
        },
    ),
    "SCAIL 2": Relative(model.SCAIL2WanModel, {"channels": 20}, {"references": {"reference_latents": [picture(1), picture(3)]}}),
    "WanDancer": Relative(model_wandancer.WanDancerModel, {"channels": 36}),
}
CAUSAL = Relative(ar_model.CausalWanModel)


@cache
def model_of(name, told=False):
    """MODEL of a relative, one for all tests: a run leaves nothing on it."""
    relative = RELATIVES[name]
    weights = tiny.wan_weights(network=relative.network, **{"layers": 2, "channels": 16} | relative.config)
    return tiny.wan_model(only_told(weights) if told else weights)


def causal_model():
    """A MODEL of the class that only the metadata of a file tells."""
    metadata = {"config": json.dumps({"transformer": {"causal_ar": True}})}
    weights = tiny.wan_weights(network=CAUSAL.network)
    return comfy.sd.load_diffusion_model_state_dict(weights, {"dtype": torch.float32}, metadata=metadata)
