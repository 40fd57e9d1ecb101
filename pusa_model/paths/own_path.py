"""The path of condition frames under samplers that are not deterministic integrators of dx / dsigma.

Ancestral, SDE and LCM samplers put fresh noise into the whole latent for one scalar level, and the CFG++ ones step with an
unconditional prediction that they capture before it can be mapped to per-frame levels. Free frames are given to such
a sampler; each condition frame follows its own Euler path ``dx_i = m_i v_i dsigma``, which overwrites whatever the sampler did
to it before every model call and at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import comfy.samplers
import torch
from torch import Tensor

DETERMINISTIC = frozenset(
    {
        "dpm_adaptive_function",
        "dpm_fast_function",
        "sample_deis",
        "sample_dpm_2",
        "sample_dpmpp_2m",
        "sample_euler",
        "sample_exp_heun_2_x0",
        "sample_gradient_estimation",
        "sample_heun",
        "sample_heunpp2",
        "sample_ipndm",
        "sample_ipndm_v",
        "sample_lms",
        "sample_res_multistep",
        "sample_unipc",
        "sample_unipc_bh2",
    }
)
"""ComfyUI's sampler functions that integrate (x - D) / sigma without fresh noise; they keep their own order of accuracy."""

OWN_LEVELS = frozenset({"dpm_adaptive_function", "dpm_fast_function"})
"""Those that are asked for a first and a last level only, and choose the ones between."""

NOISY_OPTIONS = ("eta", "s_churn", "cfg_pp")
TOLD = 1e-4  # level below which x - D is rounding


def needs_own_path(sampler) -> bool:
    """Whether condition frames must leave this sampler: it is not one of ComfyUI's deterministic ones, or made noisy.

    Samplers of other packs are unknown and so take the own path, which is right for every sampler.
    """
    if not is_core(sampler) or sampler.sampler_function.__name__ not in DETERMINISTIC:
        return True
    return any(sampler.extra_options.get(name) for name in NOISY_OPTIONS)


def is_core(sampler) -> bool:
    """Whether a sampler is one of ComfyUI's own, which start from the noised latent that they are given."""
    function = getattr(sampler, "sampler_function", None)
    return isinstance(sampler, comfy.samplers.KSAMPLER) and function.__module__.startswith("comfy.")


class OwnPath:
    """Euler state of the condition frames of one run.

    Args:
        multipliers: m shaped [T], on the sampling device.
        positions: latent frames with m < 1.
        mask_at: gives ComfyUI's noise mask [B, 1 or C, T, h, w] at a level [B], or None; where it is 0 the frame stays pinned.
    """

    def __init__(self, multipliers: Tensor, positions: list[int], mask_at: Callable[[Tensor], Tensor] | None) -> None:
        self.positions = torch.tensor(positions, device=multipliers.device)  # a list would be sent there at every step
        self.multipliers = multipliers[self.positions][None, None, :, None, None]
        self.mask_at = mask_at
        self.mask: Tensor | None = None
        self.state: Tensor | None = None
        self.rate: Tensor | None = None

    def begin(self, model_sampling, x: Tensor, noise: Tensor, latent_image: Tensor) -> None:
        """Take the noised latent that enters the sampler; later calls (masks, LCM) change nothing."""
        if self.state is None:
            self.state = x[:, :, self.positions]
            self.noise = getattr(model_sampling, "noise_scale", 1.0) * noise[:, :, self.positions]
            self.latent = latent_image[:, :, self.positions]

    def advance(self, x: Tensor, sigma: Tensor) -> Tensor:
        """A copy of x [B, C, T, H, W] with the condition frames moved along their own path to ``sigma`` [B]."""
        if self.mask_at is not None:
            self.mask = self.mask_at(sigma)[:, :, self.positions]
        self._move(sigma)
        x = x.clone()
        x[:, :, self.positions] = self.state.to(x)
        return x

    def observe(self, x: Tensor, denoised: Tensor, sigma: Tensor) -> None:
        """Remember ``m v = (x - D) / sigma`` of the condition frames. A call at a level of 0 or below tells nothing of it."""
        level = _per_row(sigma)
        rate = (x - denoised)[:, :, self.positions] / level.clamp_min(TOLD)
        known = torch.zeros_like(rate) if self.rate is None else self.rate
        self.rate = torch.where(level >= TOLD, rate, known)  # on the device: a step must not wait for it

    def finish(self, samples: Tensor, sigma: Tensor) -> Tensor:
        """Write the condition frames at the last level into the samples, un-noised as ``inverse_noise_scaling`` does.

        The mask is that of the last model call, whose prediction ComfyUI's samplers end on.
        """
        self._move(sigma)
        samples = samples.clone()
        samples[:, :, self.positions] = (self.state / (1.0 - self.multipliers * _per_row(sigma))).to(samples)
        return samples

    def _move(self, sigma: Tensor) -> None:
        """Go to a level; what lies below 0 is 0, where a frame is clean."""
        sigma = sigma.clamp_min(0)
        if self.rate is not None:
            self.state = self.state + self.rate * (_per_row(sigma) - _per_row(self.sigma))
        self.sigma = sigma
        if self.mask is not None:
            levels = self.multipliers * _per_row(sigma)
            pinned = levels * self.noise + (1.0 - levels) * self.latent
            self.state = self.state * self.mask + pinned * (1.0 - self.mask)


def _per_row(sigma: Tensor) -> Tensor:
    return sigma.reshape(-1, 1, 1, 1, 1)
