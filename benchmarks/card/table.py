"""The tables of README, "Does it fit my card"."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .files import GB, lora_file, model_file, module_file
from .memory import COMPUTER, GIB, call_bytes, decode_bytes, fit, kept_free
from .networks import WAN_5B, WAN_14B, Video, Wan, text_encoder, vae

CARDS, RAM = (8, 12, 16, 24), (64, 48, 32, 24, 16)
KINDS = "fp16", "fp8 scaled", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_S"


@dataclass(frozen=True)
class Choice:
    """A model in one format, with all that a ready graph loads beside it.

    Attributes:
        experts: model files, each with LoRAs of its own.
        distilled: with a LightX2V LoRA of rank 64 in 32 bits; else 30 steps.
        pusa: with a Pusa LoRA of rank 512 in 16 bits.
    """

    name: str
    wan: Wan
    kind: str
    experts: int = 1
    distilled: bool = False
    pusa: bool = True

    def __str__(self) -> str:
        return f"{self.name}, {self.kind}"

    @property
    def weights(self) -> int:
        """Bytes of one model file."""
        return model_file(self.wan, self.kind)

    @property
    def loras(self) -> int:
        """Bytes of all LoRAs."""
        return self.experts * (lora_file(self.wan, 512) * self.pusa + lora_file(self.wan, 64, 4) * self.distilled)

    @property
    def files(self) -> int:
        """Bytes of all files: models, LoRAs, the fp8 text encoder and the VAE."""
        return self.experts * self.weights + self.loras + module_file(text_encoder(), 1) + module_file(vae(self.wan.channels))

    @property
    def ram(self) -> float:
        """GiB of RAM where ComfyUI keeps every file that it has loaded, and works."""
        return self.files / GIB + COMPUTER


CHOICES = (
    Choice("Wan2.2 A14B", WAN_14B, "fp8 scaled", experts=2, distilled=True),
    Choice("Wan2.2 A14B", WAN_14B, "Q6_K", experts=2, distilled=True),
    Choice("Wan2.2 A14B", WAN_14B, "Q4_K_M", experts=2, distilled=True),
    Choice("Wan2.1 14B", WAN_14B, "fp8 scaled"),
    Choice("Wan2.1 14B", WAN_14B, "Q4_K_M"),
    Choice("Wan2.2 5B", WAN_5B, "fp16", pusa=False),
    Choice("Wan2.2 5B", WAN_5B, "Q6_K", pusa=False),
)


def rows_of(heads: list, rows: list) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(choice: Choice, card: float) -> str:
    """For each video of a model: the share of its weights that stay on a card, or a dash."""
    fits = [fit(card, choice.wan, choice.weights, video) for video in choice.wan.videos]
    return " / ".join(f"{each.share:.0%}" if each.runs else "-" for each in fits)


def cards() -> str:
    """What each choice takes, and how it runs on each card."""
    return rows_of(
        ["files", "steps", "download, GB", "RAM, GiB", *(f"{card} GB card" for card in CARDS)],
        [
            [
                str(choice),
                "4" if choice.distilled else "30",
                f"{choice.files / GB:.1f}",
                str(math.ceil(choice.ram)),
                *(cell(choice, card) for card in CARDS),
            ]
            for choice in CHOICES
        ],
    )


def best(ram: float) -> Choice | None:
    """The first choice that some GiB of RAM hold, or None."""
    return next((choice for choice in CHOICES if choice.ram <= ram), None)


def advice() -> str:
    """For each size of RAM the first choice that it holds."""
    return "; ".join(f"**{size} GB of RAM**: {best(size)}" for size in RAM) + "."


def here(ram: float, card: float | None) -> str:
    """What a computer takes, in words.

    Args:
        ram, card: GiB; None is a computer without a card.
    """
    choice = best(ram)
    told = f"This computer has {ram:.1f} GiB of RAM"
    if choice is None:
        return f"{told}; the smallest choice needs {math.ceil(min(each.ram for each in CHOICES))} GiB. More RAM, or stored prompts."
    if card is None:
        return f"{told} and no card that PyTorch finds: {choice} fits in it. The demos are made for a processor."
    videos = " / ".join(video.name for video in choice.wan.videos)
    return f"{told} and a card of {card:.1f} GiB: {choice}, with {cell(choice, card)} of a model on the card at {videos}."


def calls() -> str:
    """What one call of the network takes, and what ComfyUI keeps free for it."""
    heads = ["video", "one call takes", "ComfyUI keeps free for it", "VAE Decode, or less in tiles"]
    return rows_of(heads, [[*call(wan, video)] for wan in (WAN_14B, WAN_5B) for video in wan.videos])


def call(wan: Wan, video: Video) -> tuple[str, ...]:
    """A row of ``calls``."""
    name = f"{video.name}: {video.width} x {video.height}, {video.frames} frames, {'5B' if wan is WAN_5B else '14B'}"
    return name, *(f"{count(wan, video) / GIB:.1f} GiB" for count in (call_bytes, kept_free, decode_bytes))


def formats() -> str:
    """The size of one model file in every format."""
    heads = ["one model file", *KINDS]
    named = {"14B (Wan2.2 A14B has two)": WAN_14B, "5B": WAN_5B}
    return rows_of(heads, [[name, *(f"{model_file(wan, kind) / GB:.1f} GB" for kind in KINDS)] for name, wan in named.items()])


def tables() -> dict[str, str]:
    """The tables by the names of their places in README."""
    return {"advice": advice(), "cards": cards(), "calls": calls(), "formats": formats()}
