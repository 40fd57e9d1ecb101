"""The small Wan VAE: trained on single frames first, then on ever longer clips of the small world.

    python -m training.nano vae OUTPUT.safetensors

The encoder's mean is trained with noise of a fixed size and a small price on its own size (a VAE of fixed variance). At the end
the two 1 x 1 x 1 convolutions around the latents take up a scale, so that the latents have the statistics that ComfyUI
expects of Wan's: normalised, every channel has mean 0 and standard deviation 1 or less.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import comfy.latent_formats
import comfy.utils
import torch
from comfy.ldm.wan.vae import WanVAE
from torch import Tensor

from ..files import write_tensors
from . import causal, world
from .optimizer import MuonAdamW

WIDTH = 12
LEAST_STD = 0.2  # of the widest channel; narrower ones are not blown up to standard deviation 1
MEASURED = 256  # clips that the statistics come from


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: `steps` steps of `clips` clips of `frames` frames."""

    frames: int
    clips: int
    steps: int


@dataclass(frozen=True)
class Recipe:
    """How the VAE is trained.

    Attributes:
        phases: in this order.
        learning_rate: falling along a cosine to 1 % at the end of the last phase.
        noise: standard deviation of what is added to the latents.
        price: weight of the mean square of the latents against the mean square error of the pixels in [-1, 1].
        seed: of weights and noise; scene s of the world is shown once, for s = 0, 1, 2 ...
        dtype: of the computation; the weights are in float32.
    """

    phases: tuple[Phase, ...] = (Phase(1, 16, 400), Phase(5, 4, 300), Phase(17, 2, 700), Phase(33, 1, 500))
    learning_rate: float = 6e-3
    noise: float = 0.1
    price: float = 1e-4
    seed: int = 0
    dtype: torch.dtype = torch.bfloat16


def new_network(seed: int, width: int = WIDTH) -> WanVAE:
    """ComfyUI's WanVAE of a given width, with weights that begin as an image VAE: the past counts little at first."""
    network = WanVAE(
        dim=width,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, layer in network.named_modules():
            if not isinstance(layer, (torch.nn.Conv2d, torch.nn.Conv3d)):
                continue
            layer.bias.zero_()
            weight = layer.weight
            weight.copy_(torch.randn(weight.shape, generator=generator) / math.sqrt(weight[0].numel() / kernel_time(weight)))
            if kernel_time(weight) == 3:
                weight[:, :, :2] *= 0.1
            if name.endswith(("residual.6", "proj")):
                weight *= 0.2
            if name.endswith("time_conv"):
                weight *= 0.3
                weight[:, :, 2, 0, 0] += torch.eye(weight.shape[1]).repeat(weight.shape[0] // weight.shape[1], 1)
    return network


def kernel_time(weight: Tensor) -> int:
    """Frames that a kernel covers."""
    return weight.shape[2] if weight.ndim == 5 else 1


def clips(first: int, count: int, frames: int, split: str = "train") -> Tensor:
    """Windows of the scenes `first` and following, [count, 3, frames, 64, 64] in [-1, 1]."""
    windows = []
    for seed in range(first, first + count):
        start = seed * 7919 % (world.FRAMES - frames + 1)
        windows.append(world.scene(seed, split).render(frames, start))
    return torch.stack(windows).movedim(-1, 1) * 2 - 1


def train(network: WanVAE, recipe: Recipe, report=print) -> WanVAE:
    """Train in place; the same recipe gives the same weights on the same machine."""
    parameters = list(network.parameters())
    optimizer = MuonAdamW(parameters)
    generator = torch.Generator().manual_seed(recipe.seed)
    total = sum(phase.steps for phase in recipe.phases)
    step, shown, began, error = 0, 0, time.monotonic(), None
    for phase in recipe.phases:
        for _ in range(phase.steps):
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * rate(step, total)
            video = clips(shown, phase.clips, phase.frames)
            latent = causal.encode(network, video.to(recipe.dtype)).float()
            noisy = latent + recipe.noise * torch.randn(latent.shape, generator=generator)
            difference = causal.decode(network, noisy.to(recipe.dtype)).float() - video
            weight = emphasis(video)
            error_size = (weight * (difference.square() + 0.1 * difference.abs())).mean() / weight.mean()
            loss = error_size + recipe.price * latent.square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step, shown = step + 1, shown + phase.clips
            square = difference.detach().square().mean().item()
            error = square if error is None else 0.98 * error + 0.02 * square
            if step % 100 == 0 or step == total:
                seconds = time.monotonic() - began
                report(f"step {step}/{total}  {phase.frames} frames  {decibels(error):.2f} dB  {seconds:.0f} s")
    return network


def emphasis(video: Tensor) -> Tensor:
    """Weights of the pixels [B, 1, T, H, W]: things, which cover little of a clip, count five times."""
    background = video.median(dim=-1, keepdim=True).values
    return 1.0 + 4.0 * ((video - background).abs().amax(1, keepdim=True) > 0.1).float()


def rate(step: int, total: int) -> float:
    """Share of the learning rate: up over 100 steps, then down along a cosine to 1 %."""
    return min(1.0, (step + 1) / 100) * (0.505 + 0.495 * math.cos(math.pi * step / total))


def decibels(mean_square: float) -> float:
    """PSNR of a mean square error of pixels in [-1, 1]."""
    return -10 * math.log10(mean_square / 4)


@torch.no_grad()
def normalise(network: WanVAE, count: int = MEASURED) -> None:
    """Give the latents the mean and standard deviation of Wan's, channel by channel, inside the weights."""
    latents = torch.cat([causal.encode(network, clips(seed, 1, world.FRAMES)) for seed in range(count)])
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    std = std.clamp(min=LEAST_STD * std.max().item())
    wan = comfy.latent_formats.Wan21()
    wan_mean, wan_std = wan.latents_mean.flatten(), wan.latents_std.flatten()
    out, back = network.conv1, network.conv2
    scale = wan_std / std
    out.weight[16:], out.bias[16:] = 0, 0  # the variance, which nothing reads
    out.weight[:16] *= scale[:, None, None, None, None]
    out.bias[:16] = (out.bias[:16] - mean) * scale + wan_mean
    weight = back.weight[:, :, 0, 0, 0]
    back.bias += weight @ (mean - wan_mean / scale)
    back.weight /= scale[None, :, None, None, None]


@torch.no_grad()
def reconstruction(network: WanVAE, count: int, split: str = "held-out", frames: int = world.FRAMES) -> Tensor:
    """PSNR in decibels of `count` clips through the VAE, computed in float32."""
    found, device = [], next(network.parameters()).device
    for seed in range(count):
        video = clips(seed, 1, frames, split).to(device)
        again = causal.decode(network, causal.encode(network, video)).clamp(-1, 1)
        found.append(decibels((again - video).square().mean().item()))
    return torch.tensor(found)


def save(network: WanVAE, path: Path) -> None:
    """Write the weights in float16, and say how well they do."""
    weights = {name: value.half() for name, value in network.state_dict().items()}
    write_tensors(path, weights, {"format": "pt"})
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    print(f"{path}: {reconstruction(network, 32).mean():.2f} dB on 32 held-out clips of {world.FRAMES} frames", flush=True)


def load(path: Path) -> WanVAE:
    """The small VAE of a file, in float32."""
    weights = comfy.utils.load_torch_file(str(path))
    network = new_network(0, weights["decoder.head.0.gamma"].shape[0])
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network


def main(arguments: list[str]) -> int:
    """Train, normalise, measure and save."""
    recipe = Recipe()
    network = train(new_network(recipe.seed), recipe, lambda line: print(line, flush=True))
    normalise(network)
    save(network, Path(arguments[0]))
    return 0
