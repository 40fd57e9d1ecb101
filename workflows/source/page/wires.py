"""The wires of the page's graph as its canvas draws them."""

from dataclasses import dataclass

import numpy as np

from .editor import Editor
from .route import along

# Every piece that the canvas draws: link, the nodes at its ends, and the four points of the spline.
DRAWN = """async () => {
    await new Promise(done => setTimeout(done, 300)); // in Nodes 2.0 the places of sockets come after those of nodes
    const canvas = app.canvas, { ds } = canvas, before = [ds.scale, ...ds.offset], seen = [];
    const boxes = app.graph.nodes.map(node => node.boundingRect);
    ds.scale = 0.2;
    ds.offset[0] = 300 - Math.min(...boxes.map(box => box[0]));
    ds.offset[1] = 300 - Math.min(...boxes.map(box => box[1]));
    canvas.renderLink = (ctx, a, b, link, border, flow, color, start, end, { startControl, endControl } = {}) => {
        const far = Math.hypot(b[0] - a[0], b[1] - a[1]) / 4;
        const turn = direction => [far * ((direction === LiteGraph.RIGHT) - (direction === LiteGraph.LEFT)), 0];
        const [out, into] = [startControl ?? turn(start), endControl ?? turn(end)];
        const points = [[...a], [a[0] + out[0], a[1] + out[1]], [b[0] + into[0], b[1] + into[1]], [...b]];
        seen.push([link.id, link.origin_id, link.target_id, points]);
    };
    canvas.draw(true, true);
    delete canvas.renderLink;
    [ds.scale, ds.offset[0], ds.offset[1]] = before;
    canvas.setDirty(true, true);
    return seen;
}"""


@dataclass
class Wire:
    """One wire: its number, the nodes at its ends, and the splines that it is made of, each [4, 2]."""

    number: int
    own: tuple[int, int]
    pieces: list[np.ndarray]

    @property
    def ends(self) -> tuple:
        """Where it starts and where it stops."""
        return tuple(self.pieces[0][0]), tuple(self.pieces[-1][-1])

    def points(self, step: float = 4) -> np.ndarray:
        """Points [N, 2] on it, about `step` apart."""
        return np.concatenate([along(piece, step) for piece in self.pieces])


def wires(editor: Editor) -> list[Wire]:
    """All wires, in the order of their numbers."""
    found = {}
    for number, origin, target, points in editor.evaluate(DRAWN):
        found.setdefault(number, Wire(number, (int(origin), int(target)), [])).pieces.append(np.array(points))
    return [found[number] for number in sorted(found)]
