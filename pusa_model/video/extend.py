"""A clip made longer, hop by hop: which frames a window is given, and where its new ones go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from torch import Tensor

from ...schedulers import InputError, Resampling, check_length
from ...schedulers.geometry import FACTOR
from .clip import Clip, Edge
from .color import ColorMap, cross_fade
from .frames import make_frames
from .joined import Joined, check_added, check_ends
from .window import WindowSampler

DIRECTIONS = ("forwards", "backwards")
HOP_SEEDS = ("increment", "fixed")


@dataclass(frozen=True)
class Plan:
    """How a clip is extended.

    Attributes:
        overlap: frames of the clip that a window begins with, 4n + 1.
        new_frames: frames of the model that a hop adds, a multiple of 4 (with another frame rate: before resampling).
        hops: windows one after the other, 1 or more.
        direction: ``forwards`` adds after the clip, ``backwards`` before it.
        seed, hop_seed: of the noise; hop k, from 0, takes ``seed + k`` (``increment``) or ``seed`` (``fixed``).
        color_match: share in [0, 1] to which the colours of a window are brought to those of its overlap.
        cross_fade: last frames of the overlap that fade from the given to the drawn ones, at most ``overlap``. 0 keeps every
            frame of the clip as it is. Between two hops those of a latent frame or more fade, fewer where the overlap is shorter.
        resample: see ``Resampling``.
        factor: pixel frames of a latent frame; the 4 above is Wan's.

    Raises:
        InputError: names the input, its value and what is allowed.
    """

    overlap: int = 13
    new_frames: int = 68
    hops: int = 1
    direction: str = "forwards"
    seed: int = 0
    hop_seed: str = "increment"
    color_match: float = 0.0
    cross_fade: int = 0
    resample: str = "keep"
    factor: int = FACTOR

    def __post_init__(self):
        check_length(self.overlap, "overlap", self.factor)
        least = self.factor + 1 if self.direction == "backwards" else 1
        check_ends(self.overlap, self.cross_fade, self.color_match, self.resample, least)
        if self.new_frames < self.factor or self.new_frames % self.factor:
            examples = f"{5 * self.factor} or {17 * self.factor}"
            raise InputError(f"`new_frames` is {self.new_frames}; it must be a multiple of {self.factor}, such as {examples}.")
        if self.hops < 1:
            raise InputError(f"`hops` is {self.hops}; it must be 1 or more.")
        for name, value, allowed in (("direction", self.direction, DIRECTIONS), ("hop_seed", self.hop_seed, HOP_SEEDS)):
            if value not in allowed:
                raise InputError(f"`{name}` is `{value}`; use {' or '.join(allowed)}.")

    def fade(self, hop: int) -> int:
        """Frames of the overlap of a hop, from 0, that fade into its drawing of them."""
        own = min(self.factor, hop * self.new_frames, self.overlap - 1)
        return max(self.cross_fade, own)


def extend(
    clip: Clip,
    positives: Sequence[list],
    sampler: WindowSampler,
    plan: Plan,
    frames_in: str = "memory",
    on_hop: Callable[[int], None] = lambda hop: None,
) -> Joined:
    """Make a clip longer.

    A hop is given the last ``overlap`` frames, draws a window of ``overlap + new_frames`` and keeps its new frames. The frames
    of a hop fade into the next one's drawing of them, so that a window may move what it goes on from (``noise``) without a jump;
    ``python dev.py bench extend`` measures it. One window is held at a time. Backwards is the same with time turned round.

    Args:
        positives: CONDITIONING of each hop; the last one goes on for the hops that follow.
        frames_in: ``memory`` or ``disk``, see ``frames.py``.
        on_hop: told the number of a hop, from 0, when it begins.

    Raises:
        InputError: a clip that is too short, more prompts than hops, nothing to add, or anything that a window cannot use.
    """
    if len(positives) > plan.hops:
        raise InputError(
            f"{len(positives)} prompts are connected for {plan.hops} hop{'s' * (plan.hops > 1)}; each hop takes one, and the "
            "last prompt goes on. Remove some, or raise `hops`."
        )
    resampling = Resampling(clip.rate, plan.resample, sampler.rate)
    backwards = plan.direction == "backwards"
    edge = Edge("start" if backwards else "end", resampling.steps_needed(plan.overlap - 1) + 1)
    added = resampling.clip_steps(plan.hops * plan.new_frames)
    check_added(added, clip)
    room = {"before" if backwards else "after": added, "given": clip.length}
    with make_frames(frames_in, clip.height, clip.width, **room) as frames:
        frames.fill(edge.watch(clip.parts()))
        context = resampling.to_model(edge.inwards(), plan.overlap).flip(0)  # in the direction of growth, as all that follows

        def put(step: int, some: Tensor) -> None:
            """Put frames behind so many steps of growth."""
            if backwards:
                frames.put(-step - len(some), some.flip(0))
            else:
                frames.put(frames.length + step, some)

        for hop in range(plan.hops):
            on_hop(hop)
            throw_exception_if_processing_interrupted()
            window = _window(sampler, positives[min(hop, len(positives) - 1)], plan, hop, context, backwards)
            drawn, new = window[: plan.overlap], window[plan.overlap :]
            if hop == 0:
                first_drawn = drawn.flip(0) if backwards else drawn.clone()
            if plan.color_match:
                colors = ColorMap.between(drawn, context, plan.color_match)
                drawn, new = colors.apply(drawn), colors.apply(new)
            fade, done = plan.fade(hop), hop * plan.new_frames
            first, last, kept = done - fade, done + plan.new_frames, plan.overlap - fade
            if fade:
                context = torch.cat([context[:kept], cross_fade(context[kept:], drawn[kept:])])
            behind = torch.cat([context[:1], context, new])  # one more in front, for a fade over the whole overlap
            put(resampling.clip_steps(first), resampling.to_clip(behind[kept:], first, last))
            context = behind[-plan.overlap :].clone()
            del window, drawn, new, behind  # before the next window comes
        whole = frames.tensor()
    return Joined(whole, whole[:added] if backwards else whole[len(whole) - added :], first_drawn, added if backwards else 0)


def _window(sampler: WindowSampler, positive: list, plan: Plan, hop: int, context: Tensor, backwards: bool) -> Tensor:
    """Frames of a hop in the direction of growth: the overlap as it was drawn, then the new ones."""
    seed = (plan.seed + hop) % 2**64 if plan.hop_seed == "increment" else plan.seed
    length = plan.overlap + plan.new_frames
    if backwards:
        return sampler.draw(positive, seed, length, None, context.flip(0), hop).flip(0)
    return sampler.draw(positive, seed, length, context, None, hop)
