"""What all nodes share: the category, the condition type, lines shown on the node, and errors that name it."""

import inspect
import logging
from collections.abc import Callable
from functools import wraps

from comfy_api.latest import io

from ...schedulers import InputError
from ...schedulers.grammar import shown
from .inputs import check_inputs

CATEGORY = "Pusa"
PusaCondition = io.Custom("PUSA_CONDITION")


def named_errors(execute):
    """Check the inputs of a node before it runs, and put its display name in front of an input error.

    So a reader of the message finds the node. It becomes a plain ValueError: ComfyUI prints an exception's module, which for a
    pack is a path on the server.
    """
    signature = inspect.signature(execute)

    @wraps(execute)
    def named(cls, *args, **kwargs):
        schema = cls.define_schema()
        try:
            if unknown := kwargs.keys() - signature.parameters:
                raise InputError(f"there is no input `{shown(min(unknown))}`, or fewer of its kind. Take the link to it away.")
            check_inputs(schema, signature.bind(cls, *args, **kwargs).arguments)
            return execute(cls, *args, **kwargs)
        except InputError as error:
            raise ValueError(f"{schema.display_name}: {error}") from error

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
    """Show a line on the node, in the page that queued the graph and in no other.

    Its schema must list `unique_id` as hidden; with `dynprompt`, a node that another one expanded into speaks on that one.
    """
    if not (cls.hidden and cls.hidden.unique_id):
        return
    from server import PromptServer

    page, graph = PromptServer.instance.client_id, cls.hidden.dynprompt
    if page:
        node = graph.get_display_node_id(cls.hidden.unique_id) if graph else cls.hidden.unique_id
        PromptServer.instance.send_progress_text(text.encode("utf-8", "replace"), node, sid=page)
