"""A clip of any length through one window: frames become clean one after the other, and the window goes with them.

The table is ``delayed`` with the smallest lag whose moving frames fit the window. Every call sees the frames of its window alone,
so that its time and memory are those of a clip as long as the window; nothing is decoded and encoded between.

Sources: Rolling Diffusion (arXiv 2402.09470), FIFO-Diffusion (arXiv 2405.11473), Diffusion Forcing (arXiv 2407.01392).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

from ..schedulers import InputError, LevelTable, Recipe, latent_length
from ..schedulers.level_table import lag_of_window
from .condition import Condition, describe_target
from .families.lookup import check_model, network_record, video_latent
from .guards import advice
from .lora.on_model import check_lora_once
from .part_of_time import ROWS
from .patch import apply_condition, condition_latent
from .prompts.check import check_prompts, lengths
from .sampling import sigma_grid, with_samples, with_shift


def sample_rolling(
    model,
    prompts: Sequence[list],
    negative,
    latent: dict[str, Any],
    *,
    seed: int,
    length: int,
    window: int,
    steps: int,
    block: int,
    cfg: float,
    shift: float,
    condition: Condition | None = None,
    warn: Callable[[str], None] = logging.warning,
) -> dict[str, Any]:
    """Sample a clip of any length by Euler steps in which the network sees one window.

    Args:
        model: ModelPatcher of a text-to-video model of the families.
        prompts: CONDITIONINGs, spread evenly over the clip; a call has that of its first moving frame.
        latent: LATENT dict; its batch, channels and size count, its length does not.
        seed: of one noise draw for the whole clip, as KSampler draws it.
        length: pixel frames, n q + 1 with n the factor of the family.
        window: W, latent frames that a call sees; longer than the clip it is the clip.
        steps: K, of each frame.
        block: latent frames that move together, W at most.
        condition: given frames; positions count in the long clip.

    Returns:
        A new LATENT dict with the whole clip.

    Raises:
        InputError: any input that cannot be used.
    """
    family = check_model(model)
    check_lora_once(model, "model")
    for prompt in prompts:
        check_prompts(model, prompt, negative)
    record = network_record(model)
    if record.one_number or record.remark is not None:
        raise InputError(f"`model` is {record.words}, whose control would have to roll along. Use a text-to-video model.")
    if "noise_mask" in latent:
        raise InputError("`latent` has a noise mask, which does not roll along. Take it away, or sample with KSampler (Pusa).")
    Condition.empty(latent["samples"])  # says what is wrong with a latent that is none of a video
    frames, samples = latent_length(length, family.factor), video_latent(model, latent)
    window = min(window, frames)
    if block > window:
        raise InputError(f"`block` is {block}, the window {window} latent frames; a block fits into the window.")
    target = samples.new_zeros(*samples.shape[:2], frames, *samples.shape[3:])
    given, condition = condition, lengthened(Condition.empty(target) if condition is None else condition, target)
    said = [*advice(model, cfg, steps, given is not None and condition.conditioned), lengths(model, *prompts, negative)]
    if given is not None and given.target[1] != frames:
        said.append(
            f"The condition was made for {given.target[1]} latent frames, the clip has {frames}: its positions count from the "
            "start, `last` too. Make it from a latent as long as the clip."
        )
    for text in filter(None, said):
        warn(text)
    shifted, lag = with_shift(model, shift), lag_of_window(steps, window, block)
    grid = sigma_grid(shifted, "euler", family.scheduler, steps, shift, 1.0)
    planned = condition.with_recipe(Recipe("delay", lag, block, "forward", tuple(grid.tolist()), window))
    table = planned.table()
    ours = apply_condition(shifted, planned)
    target = condition_latent(model, target, planned)
    callback = latent_preview.prepare_callback(ours, table.rows)
    result = comfy.sample.sample_custom(
        ours,
        comfy.sample.prepare_noise(target, seed, latent.get("batch_index")),
        cfg,
        comfy.samplers.sampler_object("euler"),
        table.clock,
        by_frame(prompts, table),
        negative,
        target,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return with_samples(latent, result)


def lengthened(condition: Condition, target: Tensor) -> Condition:
    """A condition for the long clip [B, C, T, h, w].

    Raises:
        InputError: it was made for another size or a longer clip, or has a schedule.
    """
    channels, length, height, width = condition.target
    if condition.recipe is not None:
        raise InputError("`condition` has a schedule; Rolling Video has one of its own. Take Schedule (Pusa) away.")
    if (channels, height, width) != (target.shape[1], *target.shape[3:]) or length > target.shape[2]:
        raise InputError(
            f"`condition` was made for {describe_target(condition.target)}, the clip has {describe_target(target.shape[1:])}. Make "
            "both from latents of one size, and the clip long enough."
        )
    return replace(condition, target=tuple(target.shape[1:]))


def by_frame(prompts: Sequence[list], table: LevelTable) -> list:
    """CONDITIONING in which each row of a table has the prompt of its first moving frame."""
    moving = [row.nonzero()[:, 0].tolist() for row in table.levels.diff(dim=0) < 0]
    chosen = [len(prompts) * row[0] // table.frames if row else 0 for row in moving]
    rows: list = []
    for number, prompt in enumerate(prompts):
        if number in chosen:
            first, last = chosen.index(number), len(chosen) - chosen[::-1].index(number)
            rows += [[features, options | {ROWS: (first, last)}] for features, options in prompt]
    return rows
