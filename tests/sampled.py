"""Small sampling runs that the sampling tests share."""

import comfy.latent_formats
import torch
from pusa.pusa_model import sampling
from pusa.pusa_model.timeline import placing as timeline

FORMAT = comfy.latent_formats.Wan21()


def empty(length: int = 5, batch: int = 1, size: int = 4) -> dict:
    return {"samples": torch.zeros(batch, 16, length, size, size)}


def random_frames(count: int, seed: int = 0, batch: int = 1, size: int = 4) -> torch.Tensor:
    return torch.randn(batch, 16, count, size, size, generator=torch.Generator().manual_seed(seed))


def given(latent: dict, positions: str, noise: str, seed: int = 0, frames: torch.Tensor | None = None):
    """A condition of random latent frames."""
    samples = latent["samples"]
    count = len(positions.split(","))
    frames = random_frames(count, seed, size=samples.shape[-1]) if frames is None else frames
    return timeline.latent_frames(samples, frames, positions, noise)


def run(model, positive, negative, latent: dict, condition=None, **changes) -> torch.Tensor:
    settings = dict(
        seed=7, steps=4, cfg=1.0, shift=5.0, denoise=1.0, sampler_name="euler", scheduler="flow_match", condition=condition
    )
    return sampling.sample(model, positive, negative, latent, **(settings | changes))["samples"]


def watch_network(model, seen: list) -> None:
    """Note (latent, timesteps) of every call as the network gets them, behind all wrappers."""
    network = model.model.diffusion_model
    forward = network.forward_orig

    def watched(x, t, *args, **kwargs):
        seen.append((x.clone(), t.clone()))
        return forward(x, t, *args, **kwargs)

    network.forward_orig = watched
