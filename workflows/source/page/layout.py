"""Places for a graph's nodes: groups in bands from left to right, columns inside a group, nothing on top of anything."""

import math

from ..graph import NOTE_WIDTH, Graph

TITLE = 30  # of a node, above its place
HEAD = 44  # of a group
LINE = 110  # of text that a node shows after a run
TELLING = (
    "PusaTimeline", "PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames", "PusaSchedule", "PusaExtendVideo", "PusaTransition",
)  # fmt: skip
PAD, COLUMN_GAP, NODE_GAP, GROUP_GAP, BAND_GAP = 24, 50, 30, 50, 70


def arrange(graph: Graph, sizes: dict) -> tuple[dict, list]:
    """Where everything goes.

    Args:
        graph: nodes with their groups and columns.
        sizes: width and height of each node by key, without its title.

    Returns:
        Top left corner below the title by key, and groups as (title, [x, y, width, height]).
    """
    places, groups, x = {}, [], NOTE_WIDTH + BAND_GAP
    for band in graph.bands:
        y, widest = 0, 0
        for group in (title for title in band if any(node.group == title for node in graph.nodes.values())):
            width, height = _place_group(graph, group, sizes, places, x, y)
            groups.append((group, [x, y, width, height]))
            y, widest = y + height + GROUP_GAP, max(widest, width)
        for index, (title, box) in enumerate(groups):
            if title in band:
                groups[index] = (title, [*box[:2], widest, box[3]])
        x += widest + BAND_GAP if widest else 0
    return places, groups


def _place_group(graph: Graph, group: str, sizes: dict, places: dict, left: float, top: float) -> tuple:
    """Write the places of a group's nodes; its width and height."""
    members = {key: node for key, node in graph.nodes.items() if node.group == group}
    x, lowest = left + PAD, top
    for column in sorted({node.column for node in members.values()}):
        y, widest = top + HEAD, 0
        for key in (key for key, node in members.items() if node.column == column):
            width, height = (10 * math.ceil(length / 10) for length in sizes[key])
            height += LINE if members[key].class_type in TELLING else 0
            places[key] = (x, y + TITLE)
            y, widest = y + TITLE + height + NODE_GAP, max(widest, width)
        x, lowest = x + widest + COLUMN_GAP, max(lowest, y - NODE_GAP)
    return x - COLUMN_GAP + PAD - left, lowest + PAD - top
