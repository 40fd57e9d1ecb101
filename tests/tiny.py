"""Tiny Wan, Wan VAE, LoRA and prompts with seeded random weights: the real architectures in about three megabytes.

python -m tests.tiny MODELS_DIR        write them where ComfyUI looks for models
"""

import sys
from pathlib import Path

import torch

try:
    import host_comfyui
except ImportError:  # run as a module from the root of the repository
    from tests import host_comfyui

host_comfyui.start()

import comfy.ldm.wan.model  # noqa: E402
import comfy.ldm.wan.vae  # noqa: E402
import comfy.ldm.wan.vae2_2  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

WIDTH = 128
TEXT_WIDTH = 4096
LORA_TARGETS = ("q", "k", "v", "o")
WAN22_VAE = {"dim": 8, "dec_dim": 8, "num_res_blocks": 1}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wan_weights(
    seed: int = 0, layers: int = 2, channels: int = 16, network=comfy.ldm.wan.model.WanModel, **config
) -> dict[str, torch.Tensor]:
    """State dict of a Wan2.1 text-to-video network of width 128 (or of one of its relatives) with small random weights."""
    built = network(
        in_dim=channels,
        dim=WIDTH,
        ffn_dim=2 * WIDTH,
        num_heads=1,
        num_layers=layers,
        text_dim=TEXT_WIDTH,
        dtype=torch.float32,
        operations=comfy.ops.manual_cast,
        **config,
    )
    return randomised(built.state_dict(), seed)


def randomised(shapes: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Random weights of the given shapes, scaled by fan-in; norms near one, biases and modulation small."""
    generator = seeded(seed)
    weights = {}
    for key, like in shapes.items():
        noise = torch.randn(like.shape, generator=generator)
        if like.ndim > 1 and "modulation" not in key and "gamma" not in key:
            weights[key] = noise / like[0].numel() ** 0.5
        elif key.endswith((".weight", ".gamma")):
            weights[key] = 1 + 0.1 * noise
        else:
            weights[key] = 0.1 * noise
    return weights


def wan_model(weights: dict[str, torch.Tensor]):
    """MODEL of a Wan state dict, in float32."""
    return comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": torch.float32})


def vae_weights(seed: int = 1) -> dict[str, torch.Tensor]:
    """State dict of a Wan2.1 VAE of width 8 with random weights."""
    network = comfy.ldm.wan.vae.WanVAE(
        dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )
    return randomised(network.state_dict(), seed)


def vae(seed: int = 1):
    """VAE of width 8, in float32."""
    return comfy.sd.VAE(sd=vae_weights(seed), dtype=torch.float32)


def wan22_model(seed: int = 0):
    """MODEL like Wan2.2 TI2V 5B, in float32: latents of 48 channels."""
    return wan_model(wan_weights(seed, channels=48, out_dim=48))


def wan22_vae_weights(seed: int = 5) -> dict[str, torch.Tensor]:
    """State dict of a VAE like that of Wan2.2 TI2V 5B, of width 8, with random weights."""
    config = {"z_dim": 48, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]} | WAN22_VAE
    return randomised(comfy.ldm.wan.vae2_2.WanVAE(**config).state_dict(), seed)


def wan22_vae(seed: int = 5):
    """VAE like that of Wan2.2 TI2V 5B, of width 8, in float32. ComfyUI builds it at one width only."""
    weights, whole = wan22_vae_weights(seed), comfy.ldm.wan.vae2_2.WanVAE
    comfy.ldm.wan.vae2_2.WanVAE = lambda **given: whole(**given | WAN22_VAE)
    try:
        return comfy.sd.VAE(sd=weights, dtype=torch.float32)
    finally:
        comfy.ldm.wan.vae2_2.WanVAE = whole


def lora_weights(seed: int = 2, layers: int = 2, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA with the keys of the official Pusa files, for the tiny Wan."""
    generator = seeded(seed)
    modules = [f"{attention}.{target}" for attention in ("self_attn", "cross_attn") for target in LORA_TARGETS]
    sizes = {module: (WIDTH, WIDTH) for module in modules} | {"ffn.0": (WIDTH, 2 * WIDTH), "ffn.2": (2 * WIDTH, WIDTH)}
    weights = {}
    for block in range(layers):
        for module, (fan_in, fan_out) in sizes.items():
            name = f"blocks.{block}.{module}"
            weights[f"{name}.lora_A.default.weight"] = torch.randn(rank, fan_in, generator=generator) / fan_in**0.5
            weights[f"{name}.lora_B.default.weight"] = 0.1 * torch.randn(fan_out, rank, generator=generator)
    return weights


def prompt(seed: int, tokens: int = 8) -> list:
    """CONDITIONING of random text features [1, tokens, 4096]."""
    return [[torch.randn(1, tokens, TEXT_WIDTH, generator=seeded(seed)), {}]]


def write(models: Path) -> None:
    """Write every tiny model into ComfyUI's models folder."""
    host_comfyui.load_pack()
    from pusa.pusa_model.prompts.stored import pack_prompt

    files = {
        "diffusion_models/pusa_tiny_wan": wan_weights(0),
        "diffusion_models/pusa_tiny_wan_low": wan_weights(10),
        "vae/pusa_tiny_vae": vae_weights(),
        "loras/pusa_tiny_lora": lora_weights(),
    }
    for name, weights in files.items():
        path = models / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, path)
    (models / "prompts").mkdir(exist_ok=True)
    for name, seed in (("positive", 3), ("negative", 4)):
        tensors, metadata = pack_prompt(prompt(seed))
        save_file(tensors, models / f"prompts/pusa_tiny_{name}.safetensors", metadata)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
