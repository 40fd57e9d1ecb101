"""Where the lines of a timeline lie on a clip: the frames that they ask for, and the latent frames that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from ..geometry import FACTOR, latent_frame, pixel_frames, pixel_length
from ..grammar import parse_noise
from .lines import Item, Mistakes


@dataclass(frozen=True)
class Placed:
    """An item on the timeline of a clip.

    Attributes:
        frames: pixel frames that were asked for. The first one of a clip behind frame 0 only primes the causal VAE.
        latents: latent frames that are given.
        multipliers: m in [0, 1], one per latent frame.
    """

    item: Item
    frames: range
    latents: range
    multipliers: tuple[float, ...]


def place_items(items: Sequence[Item], length: int, factor: int = FACTOR) -> tuple[list[Placed], Mistakes]:
    """Where items lie on a clip of ``length`` latent frames, and what is wrong with those that cannot.

    A picture takes the latent frame that holds its frame. A clip from a to b lies on the grid of latent frames: both are multiples
    of the factor. From 0 on it is given whole; elsewhere frame a primes the VAE and the latents of a + 1 to b are given.
    """
    placed, mistakes, owners = [], {}, {}
    for item in items:
        try:
            found = _placed(item, length, factor)
            for latent in found.latents:
                if latent in owners:
                    held = pixel_frames(latent, factor)
                    frames = f"frames {held[0]} to {held[-1]}" if len(held) > 1 else f"frame {held[0]}"
                    raise InputError(
                        f"latent frame {latent} ({frames}) is given by line {owners[latent]} already. Every latent frame takes one "
                        "picture; move one of them or leave it out."
                    )
        except InputError as error:
            mistakes[item.line] = str(error)
            continue
        owners |= dict.fromkeys(found.latents, item.line)
        placed.append(found)
    return placed, mistakes


def resolved_text(placed: Sequence[Placed]) -> str:
    """Placed items as a text of a timeline with frames in numbers; comments name the latent frames."""
    lines = []
    for each in placed:
        first, last = each.frames[0], each.frames[-1]
        item = replace(each.item, first=str(first), last=None if each.item.last is None else str(last))
        span = f"{each.latents[0]}-{each.latents[-1]}" if len(each.latents) > 1 else str(each.latents[0])
        lines.append(f"{item}  # latent {span}")
    return "\n".join(lines)


def _placed(item: Item, length: int, factor: int) -> Placed:
    total = pixel_length(length, factor)

    def index(word: str) -> int:
        value = total - 1 if word == "last" else int(word)
        value += total if value < 0 else 0
        if not 0 <= value < total:
            raise InputError(
                f"frame {word} is outside the clip. The latent has {length} frames ({total} pixel frames), so a place is 0 to "
                f"{total - 1}, -1 to -{total} from the end, or `last`."
            )
        return value

    first = index(item.first)
    if item.last is None:
        latents, frames = range(at := latent_frame(first, factor), at + 1), range(first, first + 1)
    else:
        last = index(item.last)
        _check_clip(item, first, last, total, factor)
        latents = range(first // factor + (first > 0), last // factor + 1)
        frames = range(first, last + 1)
    return Placed(item, frames, latents, tuple(parse_noise(item.noise, len(latents))))


def _check_clip(item: Item, first: int, last: int, total: int, factor: int) -> None:
    place = f"{item.first}-{item.last}"
    if last < first:
        raise InputError(f"the clip {place} runs backwards (frame {first} to {last}).")
    if first % factor or last % factor or first == last:
        start = min(round(first / factor) * factor, total - 1 - factor)
        end = min(max(round(last / factor) * factor, start + factor), total - 1)
        if end <= start:
            raise InputError(f"the clip {place} has no room: this latent holds {total} pixel frame, a picture.")
        raise InputError(
            f"the clip {place} is off the grid of latent frames: it begins and ends at multiples of {factor}. The nearest is "
            f"{start}-{end}, of {end - start + 1} frames."
        )
