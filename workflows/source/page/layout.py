"""Places for a graph's nodes: two rows of groups, columns inside a group, nothing on top of anything, no link that goes back."""

import math

from ..graph import ABOUT, NOTE, NOTE_WIDTH, SIZE, WORDS_ALONE, Graph

TITLE = 30  # of a node, above its place
HEAD = 44  # of a group
LINE = 80  # of text that a node shows after a run
TELLING = (
    "PusaTimeline", "PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames", "PusaSchedule", "PusaExtendVideo", "PusaTransition",
)  # fmt: skip
PAD, COLUMN_GAP, NODE_GAP, GROUP_GAP, BAND_GAP, ROW_GAP = 24, 70, 40, 40, 50, 100
ROOM = 20  # between a node and one of the other row that it is linked to


def arrange(graph: Graph, sizes: dict) -> tuple[dict, list]:
    """Where everything goes.

    Args:
        graph: nodes with their groups and columns.
        sizes: width and height of each node by key, without its title.

    Returns:
        Top left corner below the title by key, that of a note by its title, and groups as (title, [x, y, width, height]).
    """
    upper, lower = graph.rows
    lower = [title for title in lower if _members(graph, title)]
    if lower == [SIZE]:
        upper, lower = WORDS_ALONE, []
    apart, below = _row(graph, sizes, [(title,) for title in lower], 0)
    begin = 0 if graph.note_below else NOTE_WIDTH + BAND_GAP
    places, above = _row(graph, sizes, upper, begin)
    links = [(given[0], key) for key, node in graph.nodes.items() for given in node.inputs.values() if isinstance(given, tuple)]
    start = max((places[a][0] + sizes[a][0] + ROOM - apart[b][0] for a, b in links if a in places and b in apart), default=0)
    start = 10 * math.ceil(max(start, 0) / 10)
    _make_way(graph, sizes, links, places, above, {key: x + start for key, (x, _) in apart.items()})
    high = {title: size[1] for title, _, size in graph.notes()}
    beside = NODE_GAP + TITLE + high[ABOUT] if ABOUT in high else 0
    boxes = [box for _, box in above] + ([] if graph.note_below else [[0, 0, NOTE_WIDTH, high[NOTE] + beside]])
    for title, box in below:
        box[0] += start
        box[1] = ROW_GAP + max(
            (y + high for x, y, wide, high in boxes if x < box[0] + box[2] + BAND_GAP and box[0] < x + wide + BAND_GAP),
            default=0,
        )
        places |= {key: (apart[key][0] + start, apart[key][1] + box[1]) for key in _members(graph, title)}
    groups = above + below
    x, y = _note(graph, groups)
    return places | {NOTE: (x, y), ABOUT: (x, y + high[NOTE] + NODE_GAP + TITLE)}, groups


def _note(graph: Graph, groups: list) -> tuple[float, float]:
    """The note's place: at the very left, or in the second row beside its groups."""
    if not graph.note_below:
        return 0, TITLE
    wide = NOTE_WIDTH
    below = [box for title, box in groups if title in graph.rows[1]]
    left, right = min(box[0] for box in below), max(box[0] + box[2] for box in below)
    before, behind, widest = left - BAND_GAP - wide, right + BAND_GAP, max(box[0] + box[2] for _, box in groups)
    x = before if -before <= behind + wide - widest else behind
    above = [box[1] + box[3] for title, box in groups if title not in graph.rows[1] and box[0] < x + wide and x < box[0] + box[2]]
    return x, max(above, default=0) + ROW_GAP + TITLE


def _members(graph: Graph, title: str) -> list[str]:
    """Keys of the nodes of a group."""
    return [key for key, node in graph.nodes.items() if node.group == title]


def _row(graph: Graph, sizes: dict, bands: list, x: float) -> tuple[dict, list]:
    """Places and groups of a row that begins at x; the groups of a band stand below each other, as wide as the widest."""
    places, groups = {}, []
    for band in bands:
        y, first = 0, len(groups)
        for title in (title for title in band if _members(graph, title)):
            width, height = _place_group(graph, title, sizes, places, x, y)
            groups.append((title, [x, y, width, height]))
            y += height + GROUP_GAP
        widest = max((box[2] for _, box in groups[first:]), default=0)
        for _, box in groups[first:]:
            box[2] = widest
        x += widest + BAND_GAP if widest else 0
    return places, groups


def _make_way(graph: Graph, sizes: dict, links: list, places: dict, groups: list, below: dict) -> None:
    """Move those groups of the first row to the right that take from nodes of the second, so far that these lie before them."""
    for title, box in list(groups):
        takers = [(a, b) for a, b in links if a in below and b in places and graph.nodes[b].group == title]
        away = max((below[a] + sizes[a][0] + ROOM - places[b][0] for a, b in takers), default=0)
        if away > 0:
            away, edge = 10 * math.ceil(away / 10), box[0]
            for key, (x, y) in places.items():
                places[key] = (x + away if x >= edge else x, y)
            for _, other in groups:
                other[0] += away if other[0] >= edge else 0


def _place_group(graph: Graph, group: str, sizes: dict, places: dict, left: float, top: float) -> tuple:
    """Write the places of a group's nodes; its width and height."""
    members = {key: graph.nodes[key] for key in _members(graph, group)}
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
