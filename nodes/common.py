"""What all nodes share: the category, the condition type, and errors that name the node."""

import logging
from collections.abc import Callable
from functools import wraps

from comfy_api.latest import io

from ..schedulers import InputError

CATEGORY = "Pusa"
PusaCondition = io.Custom("PUSA_CONDITION")


def named_errors(execute):
    """Put the node's display name in front of an input error, so that a reader of the message finds the node.

    It becomes a plain ValueError: ComfyUI prints an exception's module, which for a pack is a path on the server.
    """

    @wraps(execute)
    def named(cls, *args, **kwargs):
        try:
            return execute(cls, *args, **kwargs)
        except InputError as error:
            raise ValueError(f"{cls.define_schema().display_name}: {error}") from error

    return named


def condition_input(tooltip: str) -> io.Input:
    """The optional `condition` socket, the same on every node that has one."""
    return PusaCondition.Input("condition", optional=True, tooltip=tooltip)


def warner(cls: type[io.ComfyNode]) -> Callable[[str], None]:
    """A function that shows a warning on the node and in ComfyUI's log. The node's schema must list `unique_id` as hidden."""

    def warn(text: str) -> None:
        logging.warning("%s: %s", cls.define_schema().display_name, text)
        say(cls, text)

    return warn


def say(cls: type[io.ComfyNode], text: str) -> None:
    """Show a line on the node. Its schema must list `unique_id` as hidden."""
    if cls.hidden and cls.hidden.unique_id:
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, cls.hidden.unique_id)
