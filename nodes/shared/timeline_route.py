"""What the page asks while a timeline is edited: the sentences that the node would say, and the frames of the family."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...pusa_model.families.lookup import of_empty
from ...schedulers import InputError
from ...schedulers.timeline import place_items, read_timeline
from .input_files import missing

PATH = "/pusa/timeline"
LONGEST = 100_000  # pixel frames


def register() -> None:
    """Add the route to ComfyUI's server, where there is one."""
    from server import PromptServer

    if server := getattr(PromptServer, "instance", None):
        server.routes.post(PATH)(answer)


async def answer(request: web.Request) -> web.Response:
    """The answer for a JSON object with ``text``, ``length`` in pixel frames, ``latent`` (the class of its node) and ``fps``."""
    try:
        asked = await request.json()
        text, length, latent, fps = str(asked["text"]), int(asked["length"]), str(asked["latent"]), float(asked["fps"])
        if not 1 <= length <= LONGEST:
            raise ValueError(length)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise web.HTTPBadRequest(text=f"text, length (1 to {LONGEST}), latent and fps are needed") from error
    return web.json_response(checked(text, length, latent, fps))


def checked(text: str, length: int, latent: str = "", fps: float = 0.0) -> dict[str, Any]:
    """Frames per latent frame, frames per second, and what is wrong by the number of a line.

    Args:
        text: of a timeline.
        length: pixel frames of the clip.
        latent: class of the node that makes its latent; one that is not known counts as Wan's.
        fps: of the model; 0 is that of the family.
    """
    family = of_empty(latent)
    factor = family.factor
    try:
        items, mistakes = read_timeline(text)
    except InputError as error:
        return {"factor": factor, "rate": fps or float(family.rate), "mistakes": {1: str(error)}}
    placed, wrong = place_items(items, (length - 1) // factor + 1, factor)
    absent = {item.line: sentence for item in items if not item.socket and (sentence := missing(item.source))}
    return {"factor": factor, "rate": fps or float(family.rate), "mistakes": dict(sorted((absent | wrong | mistakes).items()))}
