"""Small sampling runs that the sampling tests share."""

import comfy.latent_formats
import torch
from comfy_extras import nodes_custom_sampler as custom
from pusa.nodes import PusaApplyCondition, PusaSchedule
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


def scheduled(kind="delay", condition=None, latent=None, sigmas=None, **changes):
    """(condition, clock) of Schedule (Pusa)."""
    latent = latent or empty()
    settings = dict(lag=2, block=1, order="forward", steps=4, shift=5.0) | changes
    return tuple(PusaSchedule.execute(latent, kind, condition=condition, sigmas=sigmas, **settings).args)


class Given:
    """A noise source with a fixed draw."""

    def __init__(self, noise, seed=7):
        self.noise, self.seed = noise, seed

    def generate_noise(self, latent):
        return self.noise


def advanced(model, condition, clock, positive, negative, latent=None, cfg=1.0, sampler="euler", noise=None, seed=7):
    latent = latent or empty()
    ours, target = PusaApplyCondition.execute(model, latent, condition, 5.0)
    guider = custom.CFGGuider.execute(ours, positive, negative, cfg)[0]
    noise = custom.Noise_RandomNoise(seed) if noise is None else Given(noise, seed)
    chosen = custom.KSamplerSelect.execute(sampler)[0]
    return custom.SamplerCustomAdvanced.execute(noise, guider, chosen, clock, target)[0]["samples"]
