"""One sampling run: a sigma grid, a condition, and one model or the Wan2.2 pair."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ..schedulers import InputError, expert_switch, flow_match_sigmas
from .condition import Condition
from .families.lookup import EMPTY_LATENT_SCALE, check_model, counted_otherwise, network_record, video_latent
from .families.table import FLOW_MATCH, Family
from .guards import advice, check_pair
from .lora.on_model import check_lora_once
from .patch import apply_condition, condition_latent
from .prompts.check import check_prompts, lengths

SCHEDULERS = [FLOW_MATCH, *comfy.samplers.SCHEDULER_NAMES]


def with_shift(model, shift: float):
    """Clone a MODEL with another timestep shift, through ComfyUI's own ModelSamplingSD3 node."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    return ModelSamplingSD3().patch(model, shift, multiplier=check_model(model).multiplier)[0]


def with_samples(latent: dict[str, Any], samples: Tensor) -> dict[str, Any]:
    """A copy of a LATENT dict with other samples, no longer marked as an empty latent of some VAE's scale."""
    return {key: value for key, value in latent.items() if key not in EMPTY_LATENT_SCALE} | {"samples": samples}


def prepare(
    model, latent: dict[str, Any], condition: Condition, shift: float, node: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """A MODEL and a LATENT with the condition applied, for any native sampler; ``node`` is named in the errors of its runs."""
    samples = condition_latent(model, video_latent(model, latent), condition)
    return apply_condition(with_shift(model, shift), condition, node), with_samples(latent, samples)


def other_schedule(family: Family, scheduler: str) -> str | None:
    """What to say of a scheduler that is not the family's; None where there is nothing to say."""
    if family.shift is not None or scheduler == family.scheduler:
        return None
    return f"The scheduler is {scheduler}; {family.name} was made for {family.scheduler}."


def with_text_rule(model, prompts: list):
    """A MODEL for prompts without a condition: where one is empty and the family has a rule for it, a clone that keeps to it."""
    record = network_record(model)
    if not any(record.asks(options) for _, options in prompts):
        return model
    patched = model.clone()
    record.own_forward(patched, ())
    return patched


def sigma_grid(model, sampler_name: str, scheduler: str, steps: int, shift: float, denoise: float) -> Tensor:
    """Sigmas [K + 1] of a run. ``flow_match`` is the official grid, every other name ComfyUI's own for this model.

    Args:
        model: ModelPatcher that already carries the shift.
        denoise: in (0, 1]; ComfyUI's schedulers follow KSampler (the tail of a longer grid).

    Raises:
        InputError: an unknown scheduler or sampler, or a number out of its range.
    """
    if sampler_name not in comfy.samplers.SAMPLER_NAMES:
        raise InputError(f"there is no sampler `{sampler_name[:40]}`; choose one from the list, such as euler.")
    if scheduler not in SCHEDULERS:
        raise InputError(f"there is no scheduler `{scheduler[:40]}`; choose one from the list, such as {FLOW_MATCH}.")
    official = flow_match_sigmas(steps, shift, denoise)
    if scheduler == FLOW_MATCH:
        return official
    return comfy.samplers.KSampler(model, steps, model.load_device, sampler_name, scheduler, denoise).sigmas.cpu()


def sample(
    model,
    positive,
    negative,
    latent: dict[str, Any],
    *,
    seed: int,
    steps: int,
    cfg: float,
    shift: float,
    sampler_name: str,
    scheduler: str,
    denoise: float,
    condition: Condition | None = None,
    model_low=None,
    boundary: float = 0.875,
    cfg_low: float | None = None,
    warn: Callable[[str], None] = logging.warning,
    progress: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Sample a LATENT with per-frame levels; with ``model_low``, the experts change at the boundary.

    The noise is KSampler's: one seeded CPU draw for the whole latent, of which every condition frame takes its own slice.
    Without a condition below multiplier 1 the result is bit for bit that of ComfyUI's own sampler on the same sigmas.

    Args:
        model: ModelPatcher of a family in the table; the high-noise expert of a pair.
        latent: LATENT dict with samples [B, C, T, h, w]; a noise_mask and batch_index are honoured.
        boundary: global level in [0, 1]; steps strictly below it go to ``model_low``.
        cfg_low: guidance of ``model_low``; None takes ``cfg``.
        warn: told, in words, what may be meant but is unusual.
        progress: (steps done before, steps in all) where this run is one of several under one progress bar.

    Returns:
        A new LATENT dict.

    Raises:
        InputError: any input that cannot be used, before a model is loaded to the device.
    """
    models = [model] if model_low is None else [model, model_low]
    for each, name in zip(models, ("model", "model_low")):
        check_model(each, name)
        check_lora_once(each, name)
    if model_low is not None:
        check_pair(model, model_low)
    check_prompts(model, positive, negative)
    family, samples = check_model(model), video_latent(model, latent)
    guidance = (cfg, cfg if cfg_low is None else cfg_low)
    conditioned = condition is not None and condition.conditioned
    said = [text for each, scale in zip(models, guidance) for text in advice(each, scale, steps, conditioned)]
    said += [counted_otherwise(family, latent), lengths(model, positive, negative), other_schedule(family, scheduler)]
    for text in dict.fromkeys(filter(None, said)):
        warn(text)
    models = [with_shift(each, shift) for each in models]
    sigmas = grid = sigma_grid(models[0], sampler_name, scheduler, steps, shift, denoise)
    if condition is not None:
        samples = condition_latent(model, samples, condition)
        models = [apply_condition(each, condition, grid=grid) for each in models]
        sigmas = grid if condition.recipe is None else condition.clock(grid)
    else:
        used = [*positive, *(negative if guidance != (1, 1) else ())]
        models = [with_text_rule(each, used) for each in models]
    if model_low is not None and len(sigmas) > len(grid):
        raise InputError(
            "the schedule of `condition` has frames on both sides of the boundary at once, and each of the two experts knows one. "
            "Use one model, or a schedule without a lag."
        )

    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    switch = expert_switch(sigmas, boundary) if model_low is not None else len(sigmas) - 1
    done, total = progress or (0, len(sigmas) - 1)
    callback, seen = latent_preview.prepare_callback(models[0], total), previewed(condition)
    for expert, scale, first, last in zip(models, guidance, (0, switch), (switch, len(sigmas) - 1)):
        if first == last:
            continue
        samples = comfy.sample.sample_custom(
            expert,
            noise,
            scale,
            comfy.samplers.sampler_object(sampler_name),
            sigmas[first : last + 1],
            positive,
            negative,
            samples,
            noise_mask=latent.get("noise_mask"),
            callback=_from_step(callback, done + first, total, seen),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )
        noise = torch.zeros_like(noise)  # the low-noise expert goes on from where the other one stopped
    return with_samples(latent, samples)


def previewed(condition: Condition | None) -> int:
    """The latent frame that a preview shows: the middle one of those that are made, as given ones stand still; else the first."""
    if condition is None:
        return 0
    vector = condition.vector()
    freest = (vector == vector.max()).nonzero().flatten().tolist()
    return freest[len(freest) // 2]


def _from_step(callback, first: int, total: int, seen: int):
    """A sampler callback whose steps count on from ``first`` on one progress bar of ``total`` steps.

    Args:
        seen: the latent frame of the preview. ComfyUI shows the first that it is given; previews of other packs that move show all,
            so the frames before it go to the end.
    """
    return lambda step, denoised, x, _: callback(first + step, denoised.roll(-seen, 2) if seen else denoised, x, total)
