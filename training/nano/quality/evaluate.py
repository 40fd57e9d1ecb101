"""Clips of the small model for scenes of the small world, and what they show: the tools of `benchmarks/quality/`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import comfy.sd
import comfy.utils
import torch
from torch import Tensor

from ....pusa_model.condition import Condition
from ....pusa_model.lora.load import load_lora
from ....pusa_model.sampling import sample
from ....pusa_model.timeline.encode import encode_images
from .. import causal, vae, words, world
from ..ship import PLACES
from . import measure

LENGTH = 9  # latent frames of a clip
BATCH = 20
BEFORE = 13  # frames that an extension is given
AHEAD = (8, 16)  # frames behind those at which its places are compared


@dataclass(frozen=True)
class Setting:
    """How clips are sampled."""

    steps: int = 10
    cfg: float = 3.0
    shift: float = 5.0
    seed: int = 0


class Model:
    """The small model, with its LoRA at a strength or without."""

    def __init__(self, folder, strength: float = 0.0):
        options = {"dtype": torch.float32}
        weights, metadata = comfy.utils.load_torch_file(str(folder / PLACES["base"]), return_metadata=True)
        self.model = comfy.sd.load_diffusion_model_state_dict(weights, model_options=options, metadata=metadata)
        if strength:
            self.model = load_lora(self.model, str(folder / PLACES["lora"]), strength, warn=lambda text: None)

    @staticmethod
    def prompts(scenes: Sequence[world.Scene]) -> tuple[list, list]:
        """Positive and negative CONDITIONING of a batch, one scene each."""
        positive = torch.stack([words.embed(scene.caption) for scene in scenes])
        return [[positive, {}]], [[torch.zeros_like(positive), {}]]

    def clips(self, scenes: Sequence[world.Scene], conditions: Callable | None, setting: Setting, length: int = LENGTH) -> Tensor:
        """Latents [N, 16, length, 8, 8] of one clip per scene.

        Args:
            conditions: from a range of scene numbers to their condition with that batch, or None.
            length: latent frames.
        """
        made = []
        for first in range(0, len(scenes), BATCH):
            some = range(first, min(first + BATCH, len(scenes)))
            latent = {"samples": torch.zeros(len(some), 16, length, 8, 8)}
            made.append(
                sample(
                    self.model,
                    *self.prompts(scenes[first : some.stop]),
                    latent,
                    seed=setting.seed + first,
                    steps=setting.steps,
                    cfg=setting.cfg,
                    shift=setting.shift,
                    sampler_name="euler",
                    scheduler="flow_match",
                    denoise=1.0,
                    condition=conditions(some) if conditions else None,
                    warn=lambda text: None,
                )["samples"]
            )
        return torch.cat(made)


class Codec:
    """The small VAE: ComfyUI's object to encode conditions with, and a decoder for many clips."""

    def __init__(self, folder):
        path = folder / PLACES["vae"]
        self.vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(path)), dtype=torch.float32)
        self.network = vae.load(path).to(self.vae.device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Videos [N, T, 64, 64, 3] in [0, 1], in float32 on the CPU, 72 latent frames at a time."""
        some = max(1, 72 // latents.shape[2])
        parts = [causal.decode(self.network, part.to(self.vae.device, torch.float32)).cpu() for part in latents.split(some)]
        return ((torch.cat(parts) + 1) / 2).clamp(0, 1).movedim(1, -1)


class Task:
    """Scenes, their true clips, and the conditions that are taken from them."""

    def __init__(self, codec: Codec, count: int, things: int | None = None, motions: Sequence[str] = world.MOTIONS):
        self.codec, self.scenes, seed = codec, [], 0
        while len(self.scenes) < count:
            scene = world.scene(seed, "held-out", things)
            if all(thing.motion in motions for thing in scene.things):
                self.scenes.append(scene)
            seed += 1

    @cached_property
    def videos(self) -> Tensor:
        """The true clips [N, 33, 64, 64, 3]."""
        return torch.stack([scene.render() for scene in self.scenes])

    def keyframes(self, frames: Sequence[int], multipliers: Sequence[float], mode: str) -> Callable[[range], Condition]:
        """True frames as pictures at latent positions ceil(p / 4)."""
        places = [math.ceil(frame / 4) for frame in frames]

        def encode(number: int) -> Tensor:
            return encode_images(self.codec.vae, list(self.videos[number, list(frames)]), places, mode)

        return self._conditions(encode, places, multipliers)

    def beginning(self, multipliers: Sequence[float]) -> Callable[[range], Condition]:
        """The first frames as a clip."""
        return self.going_on(self.videos[:, :BEFORE], multipliers)

    def going_on(self, videos: Tensor, multipliers: Sequence[float], renoise: int = 0) -> Callable[[range], Condition]:
        """Clips [N, 13, 64, 64, 3], one a scene, to go on from; ``renoise`` is that of the condition."""
        places = list(range(len(multipliers)))
        return self._conditions(lambda number: self.codec.vae.encode(videos[number]), places, multipliers, renoise)

    @torch.no_grad()
    def _conditions(self, encode: Callable[[int], Tensor], places, multipliers, renoise=0) -> Callable[[range], Condition]:
        encoded = torch.cat([encode(number) for number in range(len(self.scenes))])
        return lambda numbers: nothing().add(encoded[list(numbers)], places, list(multipliers), renoise)


def nothing() -> Condition:
    """The condition of a clip that is given no frame."""
    return Condition.empty(torch.zeros(1, 16, LENGTH, 8, 8))


def agreement(scenes: Sequence[world.Scene], videos: Tensor) -> dict[str, float]:
    """Shares of clips in which every thing has the colour, the shape and the motion of its scene, and all of them."""
    right = {"colour": 0, "shape": 0, "motion": 0, "all": 0}
    for scene, video in zip(scenes, videos):
        seen = measure.look(video, len(scene.things))
        fits = {
            word: all(getattr(thing, word) == getattr(found, word) for thing, found in zip(scene.things, seen))
            for word in ("colour", "shape", "motion")
        }
        for word, fit in fits.items():
            right[word] += fit
        right["all"] += all(fits.values())
    return {word: count / len(scenes) for word, count in right.items()}


def outlines(scenes: Sequence[world.Scene], videos: Tensor) -> Tensor:
    """How clean the one thing is in each frame of each clip, [N * T] (``measure.outline``)."""
    return torch.cat([measure.outline(video, scene.things[0].shape) for scene, video in zip(scenes, videos)])


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Mean over clips of the PSNR of pixels in [0, 1], in decibels."""
    error = (found - wanted).square().flatten(1).mean(1).clamp(min=1e-12)
    return (-10 * error.log10()).mean().item()


def flash(videos: Tensor, frame: int) -> float:
    """How much more changes at a keyframe than elsewhere.

    That is the greatest mean difference of neighbouring frames, from four before the keyframe to one behind it, over the median of
    the clip; the mean over clips. 1 is no flash.
    """
    change = (videos[:, 1:] - videos[:, :-1]).abs().mean((2, 3, 4))
    near = change[:, max(0, frame - 5) : frame + 2].amax(1)
    return (near / change.median(1).values.clamp(min=1e-4)).mean().item()


def largest_change(videos: Tensor) -> Tensor:
    """The greatest mean difference of neighbouring frames over the median one, of each clip, [N]."""
    change = (videos[:, 1:] - videos[:, :-1]).abs().mean((2, 3, 4))
    return change.amax(1) / change.median(1).values.clamp(min=1e-4)


def palette(frames: Tensor) -> Tensor:
    """Colours of the background and of the thing in [0, 1], [2, 3], of frames [T, 64, 64, 3]."""
    background = frames.median(dim=2, keepdim=True).values.median(dim=0, keepdim=True).values
    thing = (frames - background).abs().amax(-1)
    inside = frames[thing > 0.7 * thing.flatten(1).amax(1)[:, None, None]]
    return torch.stack([background.flatten(0, 2).mean(0), inside.median(dim=0).values])


def drift(frames: Tensor, wanted: Tensor) -> float:
    """How far the colours of frames lie from a palette, background or thing, the farther one; in 255ths."""
    return 255 * (palette(frames) - wanted).norm(dim=-1).max().item()


def place_errors(scenes: Sequence[world.Scene], videos: Tensor) -> dict[int, tuple[float, float]]:
    """Distance from the true place, in pixels, so many frames behind the given ones: (of the clip, of the last given frame).

    A clip that shows nothing at that frame counts with the distance of the last given frame.
    """
    errors: dict[int, list] = {ahead: [] for ahead in AHEAD}
    for scene, video in zip(scenes, videos):
        (found,) = measure.look(video)
        (true,) = measure.look(scene.render())
        last = true.track[BEFORE - 1]
        for ahead in AHEAD:
            wanted = true.track[BEFORE - 1 + ahead]
            still = (last - wanted).norm().item()
            error = (found.track[BEFORE - 1 + ahead] - wanted).norm().item()
            errors[ahead].append((still if math.isnan(error) else error, still))
    return {ahead: tuple(sum(column) / len(column) for column in zip(*pairs)) for ahead, pairs in errors.items()}
