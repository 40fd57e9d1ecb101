"""Prompts for a part of the time: an area whose length is shorter than the clip, or some of the rows of a schedule.

For the first kind ComfyUI crops the latent before it calls the network, and tells it the size but not the place; prompts of one
size share a batch. The numbers of the frames go along as one more of the prompt's values, which ComfyUI crops with the latent.
"""

from __future__ import annotations

from typing import Any

import comfy.conds
import torch
from einops import repeat
from torch import Tensor

PLACES = "pusa_places"
ROWS = "pusa_rows"  # of a schedule, [first, last) that a prompt is for


def with_places(prompts: list[dict[str, Any]] | None, x: Tensor) -> list[dict[str, Any]] | None:
    """Prompts of one call, those for a part of the time with ``PLACES`` [1, 1, T, h, w], the number of every frame.

    Args:
        prompts: as ComfyUI prepares them, with ``area`` (sizes, then places) in latent units; None at cfg 1.
        x: the latent [B, C, T, h, w] of the call.
    """
    if not any(map(_in_part, prompts or ())):
        return prompts
    frames = repeat(torch.arange(x.shape[2], device=x.device), "t -> 1 1 t h w", h=x.shape[3], w=x.shape[4])
    places = {PLACES: comfy.conds.CONDNoiseShape(frames)}
    return [{**prompt, "model_conds": prompt["model_conds"] | places} if _in_part(prompt) else prompt for prompt in prompts]


def _in_part(prompt: dict[str, Any]) -> bool:
    """Whether a prompt's area has a place in time; areas in space have height and width alone."""
    return len(prompt.get("area") or ()) == 6


def of_row(prompts: list[dict[str, Any]] | None, row: int) -> list[dict[str, Any]] | None:
    """Those prompts of one call that are for a row of a schedule, and those for all of it."""
    return prompts and [prompt for prompt in prompts if ROWS not in prompt or prompt[ROWS][0] <= row < prompt[ROWS][1]]
