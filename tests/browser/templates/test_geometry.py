"""Every graph as a person first sees it: no wider than the page shows with words, no wire behind a node, no empty group."""

import json

import host_comfyui
import numpy as np
import pytest

from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
WIDEST, VIEW, LEGIBLE = 2500, (1600, 1000), 0.5  # pixels of the graph; of a window; scale below which the canvas draws no words
EDGE = 18  # how far a slot lies inside its own node


def crossed(wire, boxes: dict) -> list:
    """Numbers of the nodes that a wire lies behind; the edges of the nodes at its ends do not count."""
    points, found = wire.points(), []
    for number, (x, y, width, height) in boxes.items():
        edge = EDGE if number in wire.own else 1
        inside = (points > [x + edge, y + 1]) & (points < [x + width - edge, y + height - 1])
        if inside.all(1).any():
            found.append(number)
    return found


def foreseen(wire) -> bool:
    """Whether the splines that places of wires are chosen by are those that the canvas draws."""
    from workflows.source.page.route import splines

    points = [piece[0] for piece in wire.pieces] + [wire.pieces[-1][-1]]
    return np.allclose(splines(points), wire.pieces, atol=1e-3)


@pytest.mark.parametrize("name", TITLES)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_a_graph_can_be_read_and_its_wires_be_followed(editor, name, nodes2):
    from workflows.source.page.wires import wires

    workflow = json.loads((FOLDER / f"{TITLES[name]}.json").read_text(encoding="utf-8"))
    workflow["extra"]["linearMode"] = False  # of a form the graph behind it
    editor.nodes2(nodes2)
    editor.open(workflow, TITLES[name])
    boxes, groups = editor.boxes(), editor.groups()
    every = np.array([*boxes.values(), *groups.values()])
    width, height = (every[:, :2] + every[:, 2:]).max(0) - every[:, :2].min(0)
    assert width <= WIDEST and min(VIEW[0] / width, VIEW[1] / height) > LEGIBLE, (width, height)
    drawn = wires(editor)
    assert len(drawn) == len(workflow["links"])
    assert {wire.number: behind for wire in drawn if (behind := crossed(wire, boxes))} == {}
    assert all(map(foreseen, drawn))
    for title, (x, y, wide, high) in groups.items():
        assert any(x <= box[0] <= x + wide and y <= box[1] <= y + high for box in boxes.values()), title
