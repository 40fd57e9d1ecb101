"""Per-frame timesteps for a native ComfyUI video model: wrappers on a cloned ModelPatcher, no module touched.

With multipliers m (shape [T]) and the sampler's global level sigma, latent frame i lives at ``s_i = m_i * sigma``:

    start     x_i = (1 - s_i) z_i + s_i eps_i        model_sampling, swapped while sampling
    model     v   = DiT(x, c s), c the timestep at 1 DIFFUSION_MODEL
    denoised  D_i = x_i - s_i v_i                    PREDICT_NOISE

so that ``(x_i - D_i) / sigma = m_i v_i = dx_i / dsigma``, which is what every ComfyUI sampler integrates. Frames whose levels are
those of a table and not ``m_i sigma`` take their own path through it: ``paths/table_path.py``.

Source: Pusa V1.0 (arXiv 2507.16116), sampling with a vector of timesteps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from ..schedulers import InputError, LevelTable
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
from .part_of_time import PLACES, of_row, with_places
from .paths.own_path import OWN_LEVELS, OwnPath, needs_own_path
from .paths.table_path import TablePath
from .run import KEY, Run, begun, check_begun, run_of
from .start import Start, numbers, placement

SMALL, SAME_LEVEL = 1e-8, 1e-6  # a level that others are divided by at least; the difference of two that are one


def apply_condition(model, condition: Condition, node: str | None = None, grid: Tensor | None = None):
    """Clone a MODEL so that every native sampler drives it with the condition's per-frame levels.

    A condition whose multipliers are all 1 adds nothing: the clone then samples bit for bit like the model, but for the rule that
    a family has for empty prompts.

    Args:
        model: ModelPatcher of a family in the table.
        condition: the condition frames; sample a latent into which ``condition_latent`` has placed them.
        node: name in front of the errors of a run, where a sampler node of others will drive it.
        grid: levels [K + 1] of a sampler, in place of those of the condition's schedule.

    Raises:
        InputError: the model cannot take a vector of timesteps, or carries a condition already.
    """
    family = check_model(model)
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        raise InputError(
            "the model already carries a Pusa condition. Chain condition nodes through their `condition` input and apply them once."
        )
    patched, network = model.clone(), network_record(model)
    table = condition.table(grid)
    if condition.conditioned or table is not None and not bool(table.is_scaled().all()):
        if network.one_number:
            exchange_forwards(patched)
            exchange_vace_blocks(patched)
        patch = FramePatch(condition, family, network, node, table, condition.clock(grid))
        if network.own_forward is not None:
            network.own_forward(patched, [patch.diffusion_model])
        patched.add_callback_with_key(CallbacksMP.ON_PRE_RUN, KEY, check_begun)
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, patch.outer_sample)
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, patch.sampler_sample)
        patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, patch.predict_noise)
        patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, patch.calc_cond_batch)
        if table is not None and table.windows is not None:
            patched.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, patch.prepare_sampling)
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


class FramePatch:
    """The wrappers of one condition. Holds no state of a run.

    Args:
        table: of the levels of all frames, where they are not ``m_i sigma``.
        clock: of its schedule, where it has one; its rows count for fresh noise.
    """

    def __init__(
        self,
        condition: Condition,
        family: Family,
        network: Network,
        node: str | None,
        table: LevelTable | None = None,
        clock: Tensor | None = None,
    ) -> None:
        self.start = Start(condition, family, table)
        self.family, self.network, self.node = family, network, node
        self.table, self.clock, self.renoised = table, clock, condition.renoised
        self.multipliers, self.held, self.moving = self.start.vector, self.start.conditioned, []
        if table is not None:
            share = table.is_scaled()
            self.multipliers = torch.where(share, table.levels[0] / table.clock[0], 1.0)
            self.held, self.moving = numbers(share & (self.multipliers < 1)), numbers(~share)

    def outer_sample(self, executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
        """Begin a run; return clean frames (m = 0) bit for bit as they came in, without the way through the latent format."""
        guider = executor.class_obj
        try:
            self.start.check(guider, noise, latent_image, sampler, sigmas)
            check_lora_once(guider.model_patcher)
            latent_image, given = self.start.clean_frames(guider.model_patcher.model, latent_image)
            with begun(guider, Run(type(guider).__name__)):
                samples = executor(noise, latent_image, sampler, sigmas.clone(), *args, **kwargs)  # uni_pc writes into its sigmas
        except InputError as error:
            if self.node is None:
                raise
            raise ValueError(f"{self.node}: {error}") from error
        samples[:, :, self.start.clean] = given[:, :, self.start.clean].to(samples)
        return samples

    def sampler_sample(
        self, executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *args, **kwargs
    ):
        """Noise and un-noise every frame at its own level for the time of this run."""
        options = extra_args["model_options"]
        run = run_of(options["transformer_options"], sampling=False)
        run.multipliers = self.multipliers.to(noise.device)
        run.retained = getattr(options.get("context_handler"), "latent_retain_index_list", [])
        run.clock = (sigmas if self.clock is None else self.clock).tolist()
        run.own_path = run.table_path = None  # of a sampler before this one in the same run
        mask_at = None if denoise_mask is None else mask_schedule(denoise_mask, options, guider, sigmas)
        if self.held and needs_own_path(executor.class_obj):
            run.own_path = OwnPath(run.multipliers, self.held, mask_at)
        if self.moving:
            self.warn_of_other_levels(executor.class_obj, sigmas)
            run.table_path = TablePath(self.table, self.moving, mask_at, noise.device)
        last = sigmas[-1].clone()
        with per_frame_noising(guider, run.multipliers, run.own_path, run.table_path, self.family.multiplier):
            samples = executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs)
        for path in filter(None, (run.own_path, run.table_path)):
            samples = path.finish(samples, last)
        return samples

    def warn_of_other_levels(self, sampler, sigmas: Tensor) -> None:
        """Say where a run goes through levels that are none of the schedule's."""
        strange, name = [level for level in sigmas.tolist() if self.table.row(level)[1]], self.node or "Pusa"
        if strange:
            logging.warning(
                "%s: the sampler has the level %.4g, which is none of the schedule's, so levels are read between its rows. Connect "
                "the `sigmas` of Schedule (Pusa) to the sampler.",
                name,
                strange[0],
            )
        if getattr(getattr(sampler, "sampler_function", None), "__name__", "") in OWN_LEVELS:
            logging.warning("%s: the sampler chooses levels of its own between those of the schedule; euler takes its own.", name)

    def predict_noise(self, executor, x, timestep, model_options={}, seed=None):
        """``D = x + m (D_base - x)`` on the whole clip, after guidance and window fusion; exact at m = 0 and m = 1."""
        run = run_of(model_options["transformer_options"])
        for path in filter(None, (run.own_path, run.table_path)):
            x = path.advance(x, timestep)
        shown = self.shown(run, x, timestep, seed)
        with run.prediction(), words_for_strangers(executor.class_obj):
            found = executor(shown, timestep, model_options, seed)
        denoised = torch.lerp(x, found.to(x), run.multipliers[None, None, :, None, None].to(x.dtype))
        if run.own_path is not None:
            run.own_path.observe(x, denoised, timestep)
        if run.table_path is not None:
            denoised[:, :, run.table_path.frames] = run.table_path.observe(x, found, timestep)
        return denoised

    def shown(self, run: Run, x: Tensor, sigma: Tensor, seed: int | None) -> Tensor:
        """The latent as the network is shown it in this call; notes in the run which share of the clock each frame is told."""
        run.shares = run.multipliers
        if run.table_path is None and self.renoised is None:
            return x
        run.shares, level = run.multipliers.clone(), sigma.flatten()[0].clamp_min(SMALL)
        if run.table_path is not None:
            run.shares[run.table_path.frames] = (run.table_path.at(sigma) / level).to(run.shares)
            run.seen = run.table_path.window(sigma)
        if self.renoised is None:
            return x
        row = sum(each >= float(level) - SAME_LEVEL for each in run.clock) - 1
        told = torch.tensor(self.renoised.levels(row), device=level.device)
        run.shares[list(self.renoised.frames)] = (told / level).to(run.shares)
        return self.renoised.shown(x, row, seed or 0)

    def calc_cond_batch(self, executor, model, conds, x_in, timestep, model_options):
        """Prompts for a part of the time bring along which frames they are given; of those for a part of a schedule, its own."""
        if self.table is not None:
            row = min(self.table.row(float(timestep.flatten()[0]))[0], self.table.rows - 1)
            conds = [of_row(prompts, row) for prompts in conds]
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
        if run.seen is None:
            return call_per_frame(executor, self.network, multipliers, x, timestep, transformer_options, call)
        streams = self.network.streams(executor.class_obj, call) if self.network.own_forward is None else ((), ())
        if any(streams) or "context_window" in transformer_options and transformer_options["context_window"] is not None:
            raise InputError(
                "the network is shown a window of the clip, and references beside the clip or context windows cannot roll along. "
                "Take them away, or sample with KSampler (Pusa)."
            )
        frames = slice(*run.seen)
        part = call_per_frame(executor, self.network, multipliers[:, frames], x[:, :, frames], timestep, transformer_options, call)
        velocity = part.new_zeros(*part.shape[:2], x.shape[2], *part.shape[3:])  # what is not seen does not move
        velocity[:, :, frames] = part
        return velocity

    def prepare_sampling(self, executor, model, noise_shape, *args, **kwargs):
        """ComfyUI makes room for a window of the schedule, not for the whole clip."""
        shape = list(noise_shape)
        shape[2] = max(high - low for low, high in self.table.windows)
        return executor(model, shape, *args, **kwargs)


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
