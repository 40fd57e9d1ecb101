"""Mochi 1 for tests: the reference network of the official code, its runs in assets/golden/mochi, and a VAE of random weights."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import comfy.ldm.genmo.vae.model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import golden
import tiny
import torch
from comfy.latent_formats import Mochi
from comfy.ldm.genmo.joint_model.layers import FeedForward
from safetensors.torch import load_file

FOLDER = Path(os.environ.get("PUSA_GOLDEN_MOCHI", golden.FOLDER / "mochi"))
INDEX = json.loads((FOLDER / "index.json").read_text())
CONFIG = INDEX["weights"]["config"]
WholeVAE = comfy.ldm.genmo.vae.model.VideoVAE


def model(config: dict = CONFIG, weights: dict[str, torch.Tensor] | None = None, operations=comfy.ops.manual_cast):
    """MODEL of ComfyUI's own Mochi at the sizes of the reference network, in float32.

    The class takes a video MLP of one width only, so each block gets one of the same class at the width of the file.
    """
    known = {key: value for key, value in config.items() if key not in ("mlp_ratio_x", "t5_token_length")}
    ratio = 12288 / config["hidden_size_x"]
    settings = {"image_model": "mochi_preview", "learn_sigma": False, "attend_to_padding": False, "use_t5": True}
    about = comfy.supported_models.GenmoMochi(known | settings | {"mlp_ratio_x": ratio})
    about.set_inference_dtype(torch.float32, None)
    about.custom_operations = operations
    built = about.get_model({}, "")
    width = config["hidden_size_x"]
    for block in built.diffusion_model.blocks:
        block.mlp_x = FeedForward(width, int(width * config["mlp_ratio_x"]), 256, None, dtype=torch.float32, operations=operations)
    stored = load_file(FOLDER / INDEX["weights"]["file"]) if weights is None else weights
    built.diffusion_model.load_state_dict({key: value.float() for key, value in stored.items()}, strict=True)
    built.eval()
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(built, load_device=device, offload_device=torch.device("cpu"))


class SmallVAE(comfy.ldm.genmo.vae.model.VideoVAE):
    """ComfyUI's Mochi VAE with fewer channels and blocks, and the keys by which it is known."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        common = {"base_channels": 32, "channel_multipliers": [1, 2, 3, 4], "latent_dim": 12, "padding_mode": "replicate"}
        attention = [False, True, True, True, True]
        self.encoder = comfy.ldm.genmo.vae.model.Encoder(
            **common, in_channels=15, num_res_blocks=[3, 1, 1, 1, 1], temporal_reductions=[1, 2, 3], spatial_reductions=[2, 2, 2],
            prune_bottlenecks=[False] * 5, has_attentions=attention, input_is_conv_1x1=True,
        )  # fmt: skip
        self.decoder = comfy.ldm.genmo.vae.model.Decoder(
            **common, num_res_blocks=[1, 1, 4, 1, 1], temporal_expansions=[1, 2, 3], spatial_expansions=[2, 2, 2],
            has_attention=[False] * 5, output_norm=False,
        )  # fmt: skip


def vae_weights(small: bool = True, seed: int = 8) -> dict[str, torch.Tensor]:
    """Random weights of Mochi's VAE, at the width that ComfyUI builds or smaller."""
    return tiny.randomised((SmallVAE if small else WholeVAE)().state_dict(), seed)


def vae(small: bool = True, weights: dict[str, torch.Tensor] | None = None):
    """VAE with random weights, in float32."""
    comfy.ldm.genmo.vae.model.VideoVAE = SmallVAE if small else WholeVAE
    try:
        return comfy.sd.VAE(sd=vae_weights(small) if weights is None else weights, dtype=torch.float32)
    finally:
        comfy.ldm.genmo.vae.model.VideoVAE = WholeVAE


def prompt(features: torch.Tensor, mask: torch.Tensor) -> list:
    """CONDITIONING as ComfyUI's Mochi text encoder makes it."""
    return [[features, {"attention_mask": mask.to(torch.int64)}]]


def random_prompt(seed: int = 0, count: int = 9, batch: int = 1, tokens: int = 256) -> list:
    """A prompt of so many tokens, padded."""
    features = torch.randn(batch, tokens, CONFIG["t5_feat_dim"], generator=tiny.seeded(seed))
    return prompt(features, (torch.arange(tokens) < count).expand(batch, -1))


def empty_prompt(seed: int = 1) -> list:
    """An empty prompt as ComfyUI encodes it: one token, the end."""
    return random_prompt(seed, 1)


@dataclass
class Reference:
    """One variant of one task: what went in, and the official result."""

    about: dict
    variant: dict
    tensors: dict[str, torch.Tensor]
    name: str

    @property
    def cfg(self) -> float:
        return self.variant["cfg_scale"]

    @property
    def positive(self) -> list:
        return prompt(self.tensors["ctx_pos"], self.tensors["mask_pos"])

    @property
    def negative(self) -> list:
        name = "neg" if self.variant["negative"] == "empty" else "neg_text"
        return prompt(self.tensors[f"ctx_{name}"], self.tensors[f"mask_{name}"])

    @property
    def latent(self) -> dict:
        return {"samples": torch.zeros(self.about["latent_shape"])}

    @property
    def timesteps(self) -> torch.Tensor:
        return self.tensors[f"{self.name}/timesteps"]

    def error(self, latent: torch.Tensor) -> float:
        """Largest difference to the official result in the network's scale; of a clean frame to what was given, as it was given."""
        found, expected = Mochi().process_in(latent), self.tensors[f"{self.name}/final"].clone()
        for index, (position, multiplier) in enumerate(zip(self.about["positions"], self.about["multipliers"])):
            if not multiplier:
                found[:, :, position] = latent[:, :, position]
                expected[:, :, position] = self.tensors["cond"][:, :, index]
        return float((found - expected).abs().max())


def variants() -> list[tuple[str, str]]:
    return [(task, variant) for task in INDEX["tasks"] for variant in description(task)["variants"]]


def description(task: str) -> dict:
    return json.loads((FOLDER / f"{task}.json").read_text())


def reference(task: str, variant: str) -> Reference:
    about = description(task)
    return Reference(about, about["variants"][variant], load_file(FOLDER / INDEX["tasks"][task]["file"]), variant)
