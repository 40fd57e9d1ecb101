"""Per-frame timesteps for a native ComfyUI Wan model: wrappers on a cloned ModelPatcher, no module touched.

With multipliers m (shape [T]) and the sampler's global level sigma, latent frame i lives at ``s_i = m_i * sigma``:

    start     x_i = (1 - s_i) z_i + s_i eps_i        model_sampling, swapped while sampling
    model     v   = DiT(x, 1000 s)                   DIFFUSION_MODEL
    denoised  D_i = x_i - s_i v_i                    PREDICT_NOISE

so that ``(x_i - D_i) / sigma = m_i v_i = dx_i / dsigma``, which is what every ComfyUI sampler integrates.

Source: Pusa V1.0 (arXiv 2507.16116), sampling with a vector of timesteps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..schedulers import InputError, frame_levels
from .condition import Condition
from .guards import check_model
from .modulation import add_replacements, frame_blocks
from .own_path import OwnPath, needs_own_path

KEY = "pusa"


def apply_condition(model, condition: Condition):
    """Clone a MODEL so that every native sampler drives it with the condition's per-frame levels.

    A condition whose multipliers are all 1 adds nothing: the clone then samples bit for bit like the model.

    Args:
        model: ModelPatcher of a plain Wan text-to-video model.
        condition: the condition frames; sample a latent into which ``condition_latent`` has placed them.

    Raises:
        InputError: the model cannot take a vector of timesteps, or carries a condition already.
    """
    check_model(model)
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        raise InputError(
            "the model already carries a Pusa condition. Chain condition nodes through their `condition` input and "
            "apply them once."
        )
    patched = model.clone()
    multipliers = condition.vector()
    if bool((multipliers < 1).any()):
        patch = FramePatch(multipliers, placed=bool(condition.frames.any()))
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, patch.outer_sample)
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, patch.sampler_sample)
        patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, patch.predict_noise)
        patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, patch.diffusion_model)
    return patched


def condition_latent(model, latent: Tensor, condition: Condition) -> Tensor:
    """The latent [B, C, T, h, w] to sample: a copy with the condition frames in place.

    Free frames of an empty (all-zero) latent are set to what the model reads as zero, so that a run with
    ``denoise < 1`` starts them where an empty latent without conditions starts.

    Raises:
        InputError: the condition was made for another latent.
    """
    condition.check_target(latent)
    if not condition.conditioned:
        return latent
    if not latent.any():
        latent = model.model.process_latent_out(torch.zeros_like(latent))
    return condition.place(latent)


@dataclass
class Run:
    """What the wrappers share during one sampling run: multipliers [T] on the sampling device, and their helpers."""

    multipliers: Tensor
    own_path: OwnPath | None
    retained: list[int]

    def window(self, transformer_options: dict[str, Any]) -> Tensor:
        """Multipliers of the frames that the model sees in this call, with a context window's anchor and retained frames."""
        window = transformer_options.get("context_window")
        if window is None:
            return self.multipliers
        return window.get_tensor(self.multipliers[None], dim=1, retain_index_list=self.retained)[0]


class FramePatch:
    """The wrappers of one condition. Holds the multipliers [T] and no state of a run."""

    def __init__(self, multipliers: Tensor, placed: bool) -> None:
        self.multipliers = multipliers
        self.placed = placed
        self.conditioned = (multipliers < 1).nonzero()[:, 0].tolist()
        self.clean = (multipliers == 0).nonzero()[:, 0].tolist()

    def outer_sample(self, executor, noise, latent_image, *args, **kwargs):
        """Return clean frames (m = 0) bit for bit as they came in, without the round trip through the latent format."""
        if latent_image.ndim != 5 or latent_image.shape[2] != len(self.multipliers):
            raise InputError(
                f"the latent to sample has the shape {tuple(latent_image.shape)}, the Pusa condition of this model was "
                f"made for {len(self.multipliers)} latent frames. Use the same latent for both."
            )
        if self.placed and not latent_image[:, :, self.conditioned].any():
            raise InputError(
                "the latent to sample is empty where the Pusa condition should be. Connect the `latent` output of "
                "Apply Condition (Pusa) to the sampler, not the latent that went into it."
            )
        samples = executor(noise, latent_image, *args, **kwargs)
        samples[:, :, self.clean] = latent_image[:, :, self.clean].to(samples)
        return samples

    def sampler_sample(
        self, executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *args, **kwargs
    ):
        """Noise and un-noise every frame at its own level for the time of this run."""
        options = extra_args["model_options"]
        multipliers = self.multipliers.to(noise.device)
        own_path = None
        if needs_own_path(executor.class_obj):
            mask_at = None if denoise_mask is None else mask_schedule(denoise_mask, options, guider, sigmas)
            own_path = OwnPath(multipliers, self.conditioned, mask_at)
        retained = getattr(options.get("context_handler"), "latent_retain_index_list", [])
        options["transformer_options"][KEY] = Run(multipliers, own_path, retained)
        with per_frame_noising(guider, multipliers, own_path):
            samples = executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs)
        return samples if own_path is None else own_path.finish(samples, sigmas[-1])

    def predict_noise(self, executor, x, timestep, model_options={}, seed=None):
        """``D = x + m (D_base - x)`` on the whole clip, after guidance and window fusion; exact at m = 0 and m = 1."""
        run: Run = model_options["transformer_options"][KEY]
        if run.own_path is not None:
            x = run.own_path.advance(x, timestep)
        denoised = executor(x, timestep, model_options, seed)
        denoised = torch.lerp(x, denoised, run.multipliers[None, None, :, None, None].to(x.dtype))
        if run.own_path is not None:
            run.own_path.observe(x, denoised, timestep)
        return denoised

    def diffusion_model(
        self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs
    ):
        """Give the model one timestep per latent frame, [B] becomes [B, T], and blocks that modulate per frame."""
        multipliers = transformer_options[KEY].window(transformer_options)
        if kwargs.get("context_latents") is not None:
            raise InputError("in-context reference latents cannot be combined with a Pusa condition: they have no frame.")
        if x.shape[2] != len(multipliers):
            raise InputError(f"the model was given {x.shape[2]} latent frames, the Pusa condition has {len(multipliers)}.")
        if time_dim_concat is not None:
            multipliers = torch.cat([multipliers, multipliers.new_ones(time_dim_concat.shape[2])])
        # Asked anew at every call, because blocks that are compiled one by one are in the network only while it is called.
        add_replacements(transformer_options, frame_blocks(executor.class_obj))
        timesteps = timestep.reshape(timestep.shape[0], -1) * multipliers.to(timestep.dtype)
        return executor(x, timesteps, context, clip_fea, time_dim_concat, transformer_options, **kwargs)


def mask_schedule(denoise_mask: Tensor, options: dict[str, Any], guider, sigmas: Tensor) -> Callable[[Tensor], Tensor]:
    """The noise mask at a level, as ComfyUI's samplers see it: constant, or what Differential Diffusion makes of it."""
    function = options.get("denoise_mask_function")
    if function is None:
        return lambda sigma: denoise_mask
    return lambda sigma: function(sigma, denoise_mask, extra_options={"model": guider, "sigmas": sigmas})


@contextmanager
def per_frame_noising(guider, multipliers: Tensor, own_path: OwnPath | None):
    """Swap ``model_sampling`` for one that noises per frame, in both places that samplers read, and put it back.

    A lasting object patch would be dropped silently by a ModelSamplingSD3 node behind it.
    """
    model, patches = guider.inner_model, guider.model_patcher.object_patches
    stock, patched = model.model_sampling, patches.get("model_sampling")
    model.model_sampling = patches["model_sampling"] = per_frame_sampling(stock, multipliers, own_path)
    try:
        yield
    finally:
        model.model_sampling = stock
        if patched is None:
            del patches["model_sampling"]
        else:
            patches["model_sampling"] = patched


def per_frame_sampling(stock, multipliers: Tensor, own_path: OwnPath | None):
    """A ``model_sampling`` that shares the stock one's class, buffers and shift, and noises frame i to ``m_i sigma``."""
    if not isinstance(stock, comfy.model_sampling.CONST):
        raise InputError(
            f"the model samples with {type(stock).__name__}, which is not flow matching. Remove the ModelSampling node "
            "that changed it, or use ModelSamplingSD3."
        )

    class PerFrameSampling(type(stock)):
        def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
            levels = frame_levels(sigma, multipliers)
            x = levels * (getattr(self, "noise_scale", 1.0) * noise) + (1.0 - levels) * latent_image
            if own_path is not None:
                own_path.begin(self, x, noise, latent_image)
            return x

        def inverse_noise_scaling(self, sigma, latent):
            return latent / (1.0 - frame_levels(sigma, multipliers))

    sampling = PerFrameSampling.__new__(PerFrameSampling)
    sampling.__dict__.update(stock.__dict__)
    return sampling
