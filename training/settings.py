"""What a training run can be told. The defaults are those of the official trainer where it has the option."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from ..schedulers import InputError

EXPERTS = {"high": (0.875, 1.0), "low": (0.0, 0.875)}  # levels that the two experts of Wan2.2-T2V-A14B take
CHOICES = {
    "lr_schedule": ("constant", "linear", "cosine"),
    "mixed_precision": ("bf16", "no"),
    "activations": ("fp32", "bf16"),
    "timesteps": ("vector", "scalar"),
    "sigma_range": ("clip", "frame"),
    "weighting": ("none", "gaussian", "official"),
    "base_dtype": ("file", "int8", "nf4"),
}
_LEAST = {
    "steps": 1,
    "batch_size": 1,
    "accumulate": 1,
    "warmup": 0,
    "save_every": 0,
    "keep": 1,
    "validate_every": 0,
    "seed": 0,
    "blocks_on_cpu": 0,
}
_SHARES = ("caption_dropout", "p_async", "p_condition", "sigma_min", "sigma_max")
_POSITIVE = ("learning_rate", "shift")
_NOT_NEGATIVE = ("weight_decay", "grad_clip")


@dataclass(frozen=True)
class Settings:
    """One training run, apart from the network and the data.

    Attributes:
        steps: optimiser steps (the released model took 900).
        batch_size: clips per forward pass and process.
        accumulate: forward passes per optimiser step.
        learning_rate: peak of the schedule.
        lr_schedule: ``constant``, ``linear`` or ``cosine`` (both fall to 0 at the last step).
        warmup: steps over which the rate rises evenly from 0.
        weight_decay: of AdamW, on every trained tensor.
        grad_clip: largest norm of the gradient; 0 is off.
        mixed_precision: ``bf16`` runs matrix products in bfloat16 (autocast) with float32 master weights, ``no`` does not.
        activations: dtype of the latents as the network gets them, and so of its residual stream.
        gradient_checkpointing: keep one activation per block and compute the rest again on the way back.
        deterministic: only kernels that give the same bits every time (a CPU needs no such switch).
        seed: of everything that is drawn.
        caption_dropout: probability in [0, 1] that a clip is shown with the empty prompt.
        timesteps: ``vector`` draws a level per latent frame, ``scalar`` one per clip, as a text-to-video model is trained.
        p_async: PTSS: probability that the frames of a clip are drawn apart; else they share one level.
        p_condition: probability that a clip is drawn as it will be sampled: some of its frames are conditions, at a multiple
            of the level that the others share (see ``timesteps.py``); 0 is the paper's training.
        shift: of the distribution of levels (see ``timesteps.py``); 1 is even, Pusa uses 5.
        sigma_min, sigma_max: range of levels in [0, 1].
        sigma_range: what the range holds for: ``clip`` (the highest level of a clip lies in it, other frames may be cleaner,
            as condition frames are when a model of this range is used) or ``frame`` (every frame).
        weighting: ``none``, ``gaussian`` (each frame's error times its weight) or ``official`` (see ``objective.py``).
        save_every: steps between checkpoints (an epoch of the official run); 0 saves at the end only.
        keep: checkpoints kept.
        optimizer: a name of ``memory/optimizers.py``, or ``package.module:Class``.
        ema: decay in [0, 1) of a running mean of the trained weights, which is what is saved and validated then; 0 is off.
        offload_activations: keep the activations of the blocks in the memory of the machine, with ``gradient_checkpointing``.
        blocks_on_cpu: blocks whose frozen weights stay there too, and come to the GPU when they are used.
        validate_every: steps between calls of the validation; 0 calls it never.
        base_dtype: how the linear layers of the blocks of a frozen base are held: as the ``file`` has them, or in 8 or 4 bits
            (``int8``, ``nf4``; see ``memory/quantised.py``). The network is to be loaded so.
    """

    steps: int = 900
    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 1e-5
    lr_schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.01
    grad_clip: float = 0.0
    mixed_precision: str = "bf16"
    activations: str = "fp32"
    gradient_checkpointing: bool = False
    deterministic: bool = False
    seed: int = 0
    caption_dropout: float = 0.0
    timesteps: str = "vector"
    p_async: float = 1.0
    p_condition: float = 0.0
    shift: float = 5.0
    sigma_min: float = 0.0
    sigma_max: float = 1.0
    sigma_range: str = "clip"
    weighting: str = "none"
    save_every: int = 150
    keep: int = 2
    validate_every: int = 0
    optimizer: str = "adamw"
    ema: float = 0.0
    offload_activations: bool = False
    blocks_on_cpu: int = 0
    base_dtype: str = "file"

    def __post_init__(self):
        """Refuse values that cannot be meant.

        Raises:
            InputError: names the setting, its value and what is allowed.
        """
        for name, allowed in CHOICES.items():
            _check(self, name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
        for name, least in _LEAST.items():
            _check(self, name, getattr(self, name) >= least, f"{least} or more")
        for name in _SHARES:
            _check(self, name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        for name in _POSITIVE:
            _check(self, name, 0 < getattr(self, name) < math.inf, "a number above 0")
        for name in _NOT_NEGATIVE:
            _check(self, name, 0 <= getattr(self, name) < math.inf, "a number, 0 or more")
        _check(self, "sigma_min", self.sigma_min < self.sigma_max, f"below `sigma_max` ({self.sigma_max:g})")
        apart = self.timesteps == "vector" and self.sigma_range == "clip"
        _check(self, "p_condition", apart or not self.p_condition, "0 unless `timesteps` is vector and `sigma_range` clip")
        _check(self, "ema", 0 <= self.ema < 1, "0 or more, and below 1")
        for name in ("offload_activations", "blocks_on_cpu"):
            needs = "off unless `gradient_checkpointing` is on, without which it saves nothing"
            _check(self, name, self.gradient_checkpointing or not getattr(self, name), needs)
        _check(self, "warmup", self.warmup <= self.steps, f"at most `steps` ({self.steps})")

    def as_dict(self) -> dict:
        """Plain values by name."""
        return asdict(self)


# Free to change when a run goes on: nothing that was drawn or computed before depends on them.
_FREE = {"steps", "save_every", "keep", "validate_every", "gradient_checkpointing", "offload_activations", "blocks_on_cpu"}
# What a run may need when it goes badly: what was drawn stays the same, and the change is told and kept in the record.
_TUNED = {"learning_rate", "warmup", "grad_clip", "weight_decay"}


def check_same(settings: Settings, stored: dict, processes: tuple[int, int] = (1, 1)) -> list[str]:
    """Refuse to go on with a run under settings that would make it another one.

    Args:
        stored: the settings of the run, as ``as_dict`` gives them.
        processes: how many there were, and how many there are; ``accumulate`` may make up for a difference.

    Returns:
        The settings that have changed and may, in words; but for those that only say how long a run is and what it keeps.

    Raises:
        InputError: lists what differs and may not.
    """
    free = _FREE - ({"steps"} if settings.lr_schedule != "constant" else set())
    then, now = processes
    tuned = _TUNED | ({"accumulate"} if then * stored["accumulate"] == now * settings.accumulate else set())
    changed, refused = [], []
    for field in fields(Settings):
        then, now = stored.get(field.name, field.default), getattr(settings, field.name)
        if then != now and field.name not in free:
            (changed if field.name in tuned else refused).append(f"{field.name} ({then} then, {now} now)")
    if refused:
        raise InputError(
            f"the checkpoint is of a run with other settings: {', '.join(refused)}. Resume with the same ones, or start anew."
        )
    return changed


def check_family(settings: Settings, family) -> None:
    """Refuse settings that a family has nothing for.

    Args:
        family: a record of ``pusa_model/families``.

    Raises:
        InputError: names the setting and the family.
    """
    if family.shift is None and (settings.shift, settings.weighting) != (Settings.shift, Settings.weighting):
        raise InputError(
            f"`shift` and `weighting` are of Wan's schedule. {family.name} is trained with the plain error on the levels of "
            f"{family.scheduler}; leave them out."
        )
    if family.own_forward and settings.blocks_on_cpu:
        raise InputError(f"`blocks_on_cpu` is for the blocks of Wan; {family.name} is trained without it.")


def _check(settings: Settings, name: str, fits: bool, allowed: str) -> None:
    if not fits:
        raise InputError(f"`{name}` is {getattr(settings, name)}; it must be {allowed}.")
