"""What nodes keep from one run to the next, for as long as ComfyUI keeps the nodes.

ComfyUI makes an object of its class for each node of a graph. It drops the object with the next graph that has no such node,
when it is asked to free memory, and behind each node where it was started to keep nothing. The methods of a node never see
that object, so only its end is used here: when one goes, so does all that is kept, and what is still wanted is made anew.
"""

import weakref
from collections.abc import Callable, Hashable
from typing import Any


class Kept:
    """Values by name, each with a key: it stays until it is asked for with another key.

    An output of ComfyUI's cache cannot take this place: it goes with every change of an input, and the cache for graphs that a
    node expands into loses them, with the default settings, in the first run in which that node is not at work.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[Hashable, Any]] = {}

    def end_with(self, node: Any) -> None:
        """Drop everything when this object of a node goes."""
        weakref.finalize(node, self._values.clear)

    def get(self, name: Hashable, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of a name, made if another key or none is kept; the old one is dropped first, so there are never two."""
        if name in self._values and self._values[name][0] == key:
            return self._values[name][1]
        self._values.pop(name, None)
        value = make()
        self._values[name] = key, value
        return value
