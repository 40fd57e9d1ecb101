"""Per-frame timesteps for a native ComfyUI video model: wrappers on a cloned ModelPatcher, no module touched.

With multipliers m (shape [T]) and the sampler's global level sigma, latent frame i lives at ``s_i = m_i * sigma``:

    start     x_i = (1 - s_i) z_i + s_i eps_i        model_sampling, swapped while sampling
    model     v   = DiT(x, c s), c the timestep at 1 DIFFUSION_MODEL
    denoised  D_i = x_i - s_i v_i                    PREDICT_NOISE

so that ``(x_i - D_i) / sigma = m_i v_i = dx_i / dsigma``, which is what every ComfyUI sampler integrates.

Source: Pusa V1.0 (arXiv 2507.16116), sampling with a vector of timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from ..schedulers import InputError
from .bystanders import foreign_forward
from .condition import Condition
from .families.lookup import check_model, network_record
from .families.networks import Network
from .families.table import Family
from .families.time_embedding import exchange_forwards
from .lora.on_model import check_lora_once
from .network.call import call_per_frame
from .network.modulation import exchange_vace_blocks
from .noising import per_frame_noising
from .own_path import OwnPath, is_core, needs_own_path
from .part_of_time import PLACES, with_places
from .run import KEY, Run, begun, check_begun, run_of

NOISED = (
    "Connect the `latent` of Apply Condition (Pusa) to the sampler as it is, with RandomNoise: AddNoise brings all frames to one "
    "level, so it cannot stand between them."
)
SAME = 0.01  # of the largest value: more than half precision makes of a clean frame on its way to the sampler


def apply_condition(model, condition: Condition, node: str | None = None):
    """Clone a MODEL so that every native sampler drives it with the condition's per-frame levels.

    A condition whose multipliers are all 1 adds nothing: the clone then samples bit for bit like the model, but for the rule that
    a family has for empty prompts.

    Args:
        model: ModelPatcher of a family in the table.
        condition: the condition frames; sample a latent into which ``condition_latent`` has placed them.
        node: name in front of the errors of a run, where a sampler node of others will drive it.

    Raises:
        InputError: the model cannot take a vector of timesteps, or carries a condition already.
    """
    family = check_model(model)
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        raise InputError(
            "the model already carries a Pusa condition. Chain condition nodes through their `condition` input and apply them once."
        )
    patched, network = model.clone(), network_record(model)
    multipliers = condition.vector()
    if bool((multipliers < 1).any()):
        if network.one_number:
            exchange_forwards(patched)
            exchange_vace_blocks(patched)
        patch = FramePatch(condition, family, network, node)
        if network.own_forward is not None:
            network.own_forward(patched, [patch.diffusion_model])
        patched.add_callback_with_key(CallbacksMP.ON_PRE_RUN, KEY, check_begun)
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, patch.outer_sample)
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, patch.sampler_sample)
        patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, patch.predict_noise)
        patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, patch.calc_cond_batch)
        if network.own_forward is None:
            patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, patch.diffusion_model)
    elif network.own_forward is not None:
        network.own_forward(patched, [])
    return patched


def condition_latent(model, latent: Tensor, condition: Condition) -> Tensor:
    """The latent [B, C, T, h, w] to sample: a copy with the condition frames in place.

    Free frames of an empty (all-zero) latent are set to what the model reads as zero, so that a run with
    ``denoise < 1`` starts them where an empty latent without conditions starts. A family with raw conditions gets them so that
    its network sees what the VAE made.

    Raises:
        InputError: the condition was made for another latent.
    """
    condition.check_target(latent)
    if not condition.conditioned:
        return latent
    if not latent.any():
        latent = model.model.process_latent_out(torch.zeros_like(latent))
    return condition.place(latent, placement(model.model, check_model(model)))


def placement(model, family: Family) -> Callable[[Tensor], Tensor] | None:
    """What makes of condition frames what the latent to sample holds of them; None where they are placed as they are."""
    return model.process_latent_out if family.raw else None


class FramePatch:
    """The wrappers of one condition. Holds no state of a run."""

    def __init__(self, condition: Condition, family: Family, network: Network, node: str | None) -> None:
        self.condition, self.family, self.network, self.node = condition, family, network, node
        self.multipliers = condition.vector()
        self.conditioned = (self.multipliers < 1).nonzero()[:, 0].tolist()
        self.clean = (self.multipliers == 0).nonzero()[:, 0].tolist()

    def outer_sample(self, executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
        """Begin a run; return clean frames (m = 0) bit for bit as they came in, without the way through the latent format."""
        guider = executor.class_obj
        try:
            self.check_start(guider, noise, latent_image, sampler, sigmas)
            check_lora_once(guider.model_patcher)
            latent_image, given = self.clean_frames(guider.model_patcher.model, latent_image)
            with begun(guider, Run(type(guider).__name__)):
                samples = executor(noise, latent_image, sampler, sigmas.clone(), *args, **kwargs)  # uni_pc writes into its sigmas
        except InputError as error:
            if self.node is None:
                raise
            raise ValueError(f"{self.node}: {error}") from error
        samples[:, :, self.clean] = given[:, :, self.clean].to(samples)
        return samples

    def clean_frames(self, model, latent_image: Tensor) -> tuple[Tensor, Tensor]:
        """The latent to sample, and the one that its clean frames (m = 0) are returned from.

        The two differ where a family has raw conditions. There, what another run has returned holds the frames as they were
        given, so they are placed anew.
        """
        scale = placement(model, self.family)
        if scale is None:
            return latent_image, latent_image
        if not self.fits(latent_image):
            return latent_image, model.process_latent_in(latent_image)
        placed = latent_image.clone()
        placed[:, :, self.clean] = self.condition.place(latent_image, scale)[:, :, self.clean]
        return placed, self.condition.place(latent_image)

    def fits(self, latent_image: Tensor) -> bool:
        """Whether the condition is that of every clip of a batch, which another node may have taken apart."""
        return self.condition.frames.shape[0] in (1, len(latent_image))

    def check_start(self, guider, noise: Tensor, latent_image: Tensor, sampler, sigmas: Tensor) -> None:
        """Refuse a run that does not begin with this condition in its latent.

        Raises:
            InputError: a latent of another shape, without the condition or noised already, or levels that are not finite.
        """
        if latent_image.ndim != 5 or latent_image.shape[2] != len(self.multipliers):
            raise InputError(
                f"the latent to sample has the shape {tuple(latent_image.shape)}, the Pusa condition of this model was "
                f"made for {len(self.multipliers)} latent frames. Use the same latent for both."
            )
        if not sigmas.isfinite().all():
            raise InputError("`sigmas` holds values that are not finite (NaN or infinity).")
        if self.condition.frames.any() and not latent_image[:, :, self.conditioned].any():
            raise InputError(
                "the latent to sample is empty where the Pusa condition should be. Connect the `latent` output of "
                "Apply Condition (Pusa) to the sampler, not the latent that went into it."
            )
        if self.clean and self.fits(latent_image):
            scales = {None, placement(guider.model_patcher.model, self.family)}
            if not any(self.holds_clean(latent_image, self.condition.place(latent_image, scale)) for scale in scales):
                raise InputError(f"the latent to sample holds other frames than the condition where these are clean. {NOISED}")
        if not noise.any() and is_core(sampler) and len(sigmas):
            self.check_noised(guider.model_patcher.model.process_latent_in(latent_image), float(sigmas[0]))

    def holds_clean(self, latent_image: Tensor, given: Tensor) -> bool:
        """Whether the clean frames of two latents are the same."""
        given = given[:, :, self.clean]
        return float((latent_image[:, :, self.clean] - given).abs().max()) <= SAME * float(given.abs().max())

    def check_noised(self, latent: Tensor, level: float) -> None:
        """Refuse a run without noise of its own whose latent cannot be the rest of an earlier run.

        That is ``x / (1 - s)`` where x has noise of deviation s, what AddNoise makes is x itself.

        Args:
            latent: [B, C, T, h, w] in the scale of the model.
            level: that the run begins at.
        """
        free = latent[:, :, self.multipliers == 1]
        if level >= 1 or free.numel() and float(free.float().std()) < level / (1 - level) / 2:
            raise InputError(f"the run begins at level {level:.3g} without noise, and the latent has too little. {NOISED}")

    def sampler_sample(
        self, executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *args, **kwargs
    ):
        """Noise and un-noise every frame at its own level for the time of this run."""
        options = extra_args["model_options"]
        run = run_of(options["transformer_options"], sampling=False)
        run.multipliers = self.multipliers.to(noise.device)
        run.retained = getattr(options.get("context_handler"), "latent_retain_index_list", [])
        run.own_path = None  # of a sampler before this one in the same run
        if needs_own_path(executor.class_obj):
            mask_at = None if denoise_mask is None else mask_schedule(denoise_mask, options, guider, sigmas)
            run.own_path = OwnPath(run.multipliers, self.conditioned, mask_at)
        last = sigmas[-1].clone()
        with per_frame_noising(guider, run.multipliers, run.own_path, self.family.multiplier):
            samples = executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs)
        return samples if run.own_path is None else run.own_path.finish(samples, last)

    def predict_noise(self, executor, x, timestep, model_options={}, seed=None):
        """``D = x + m (D_base - x)`` on the whole clip, after guidance and window fusion; exact at m = 0 and m = 1."""
        run = run_of(model_options["transformer_options"])
        if run.own_path is not None:
            x = run.own_path.advance(x, timestep)
        with run.prediction(), words_for_strangers(executor.class_obj):
            denoised = executor(x, timestep, model_options, seed)
        denoised = torch.lerp(x, denoised.to(x), run.multipliers[None, None, :, None, None].to(x.dtype))
        if run.own_path is not None:
            run.own_path.observe(x, denoised, timestep)
        return denoised

    def calc_cond_batch(self, executor, model, conds, x_in, timestep, model_options):
        """Prompts for a part of the time bring along which frames they are given."""
        return executor(model, [with_places(prompts, x_in) for prompts in conds], x_in, timestep, model_options)

    def diffusion_model(
        self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs
    ):
        """Give the model one timestep per latent frame, [B] becomes [B, T], and blocks that modulate per frame."""
        run = run_of(transformer_options)
        run.reach()
        multipliers = run.window(transformer_options, kwargs.pop(PLACES, None), timestep.device)
        if x.shape[2] != multipliers.shape[1]:
            raise InputError(f"the model was given {x.shape[2]} latent frames, the Pusa condition has {multipliers.shape[1]}.")
        call = {"context": context, "clip_fea": clip_fea, "time_dim_concat": time_dim_concat, **kwargs}
        return call_per_frame(executor, self.network, multipliers, x, timestep, transformer_options, call)


@contextmanager
def words_for_strangers(guider) -> Iterator[None]:
    """Say whose forward it is that fails with a vector of timesteps, where it is not ComfyUI's."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        stranger = foreign_forward(guider.inner_model.diffusion_model)
        if stranger is None or isinstance(error, comfy.model_management.OOM_EXCEPTION):
            raise
        raise InputError(
            f"the forward of the model was replaced by {stranger}, which fails with one timestep per latent frame "
            f"({str(error)[:120]}). Remove the node that patches the model, or sample without a condition."
        ) from error


def mask_schedule(denoise_mask: Tensor, options: dict[str, Any], guider, sigmas: Tensor) -> Callable[[Tensor], Tensor]:
    """The noise mask at a level, as ComfyUI's samplers see it: constant, or what Differential Diffusion makes of it."""
    function = options.get("denoise_mask_function")
    if function is None:
        return lambda sigma: denoise_mask
    return lambda sigma: function(sigma, denoise_mask, extra_options={"model": guider, "sigmas": sigmas})
