"""What a user asks for, by the names of the flags."""

from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What a user asked for, by the names of the flags; None and () leave the graph as it is.

    Attributes:
        prompt: texts, one, or one for each hop. prompt_file: names of stored prompts in their place.
        timeline: the file of a timeline's text.
        cond_position: latent frames, each an integer or "last".
        noise_multipliers: one for all condition frames or one for each, in [0, 1].
        halves: of the second of two clips only as many frames count as half the video has.
    """

    prompt: tuple = ()
    prompt_file: tuple = ()
    negative_prompt: str | None = None
    negative_prompt_file: str | None = None
    image_paths: tuple = ()
    video_paths: tuple = ()
    timeline: tuple = ()
    cond_position: tuple = ()
    noise_multipliers: tuple = ()
    halves: bool = False
    num_inference_steps: int | None = None
    cfg_scale: float | None = None
    shift: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    seed: int | None = None
    switch_DiT_boundary: float | None = None
    lora_alpha: float | None = None
    high_lora_alpha: float | None = None
    low_lora_alpha: float | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    fps: float | None = None
    overlap: int | None = None
    new_frames: int | None = None
    hops: int | None = None
    direction: str | None = None
    unet: str | None = None
    high_unet: str | None = None
    low_unet: str | None = None
    lora_path: str | None = None
    high_lora_path: str | None = None
    low_lora_path: str | None = None
    vae: str | None = None
    clip: str | None = None
    distill_lora: str | None = None
    high_distill_lora: str | None = None
    low_distill_lora: str | None = None

    @classmethod
    def from_flags(cls, flags: dict) -> "Settings":
        """Those of the command line that are settings; lists become tuples."""
        names = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in flags.items() if name in names and value is not None}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})

    def flags(self) -> dict:
        """What was asked for, as JSON has it."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}
        return {name: list(map(plain, value)) if isinstance(value, tuple) else plain(value) for name, value in given.items()}


def plain(value):
    """A path as text; anything else as it is."""
    return str(value) if isinstance(value, Path) else value
