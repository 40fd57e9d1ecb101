"""Where a MODEL comes from: its file, the LoRAs that were put on it, and what their names say about Wan2.2's two experts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

KEY = "pusa_loras"
_DISTILLED = re.compile(r"lightx2v|lightning|distil|causvid|accvid|[0-9]-?steps?\b", re.IGNORECASE)
_EXPERT = re.compile(r"(?<![a-z])(high|low)(?=noise|[^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class AppliedLora:
    """A LoRA file on a model, by name, with its strength, and the set of its keys that ComfyUI keeps with its patches."""

    name: str
    strength: float
    keys: set[str] | None = field(default=None, compare=False, repr=False)

    @property
    def distilled(self) -> bool:
        """Whether the name is that of a step-distillation LoRA (LightX2V, Lightning and their kind)."""
        return is_distilled(self.name)


def is_distilled(name: str) -> bool:
    """Whether a LoRA's file name is that of a step-distillation LoRA; there is nothing in the weights to tell it by."""
    return _DISTILLED.search(Path(name).name) is not None


def expert_of(path: str | None) -> str | None:
    """The Wan2.2 expert that a file's name, else its folder's name, says it is: ``high``, ``low``, or None."""
    for name in Path(path or "").parts[-1:-3:-1]:
        found = {match.lower() for match in _EXPERT.findall(name)}
        if len(found) == 1:
            return found.pop()
    return None


def applied_loras(model) -> tuple[AppliedLora, ...]:
    """LoRAs that this pack's loaders put on a MODEL, in order. ComfyUI's own LoRA nodes leave no name behind."""
    return model.get_attachment(KEY) or ()


def remember(model, lora: AppliedLora) -> None:
    """Note a LoRA on a cloned MODEL; its own clones inherit the note."""
    model.set_attachments(KEY, (*applied_loras(model), lora))
