"""Ways for the wires of a graph: past every node, by reroute points where the straight way leads behind one.

The curves are those of ComfyUI's canvas: cubic splines that leave an output to the right and meet an input from the left, and turn
by half at a reroute point.
"""

import math
from itertools import product

import numpy as np

# Of a spline's control points: share of the way, and the most at a reroute point, as the page's setting has it from the start.
PULL, REACH = 0.25, 20
STEP = 6  # between looked at points of a curve
AIR = 8  # around a node that is not the wire's own
EDGE = 14  # at the sides of the wire's own nodes, where the slots lie
ASIDE = (40, 55, 28, 70, 85, 100)  # of a node, where a wire turns
LANE, MARGIN = 10, 90  # between lanes that are tried, and beyond the outermost node
APART = (20, 10)  # between wires in lanes beside each other: what is tried first, and the least


def splines(points: list) -> list[np.ndarray]:
    """The splines [4, 2] of a wire from the first to the last of some points, through those between."""
    places = [np.array(point, float) for point in points]
    out, made = np.array([1.0, 0.0]), []
    for index, (here, there) in enumerate(zip(places, places[1:])):
        length = math.dist(here, there)
        begin = here + out * (PULL * length if index == 0 else min(REACH, PULL * length))
        if index + 2 < len(places):
            onward = places[index + 2] - there
            came, goes = math.atan2(*(there - here)[::-1]), math.atan2(*onward[::-1])
            half = (came - goes) / 2
            half += math.pi if abs(half) > math.pi / 2 else 0
            out = np.array([math.cos(came - half), math.sin(came - half)])
            end = there - out * min(REACH, PULL * length)
        else:
            end = there - np.array([PULL * length, 0])
        made.append(np.array([here, begin, end, there]))
    return made


def along(spline: np.ndarray, step: float) -> np.ndarray:
    """Points [N, 2] on a spline, about `step` apart."""
    a, b, c, d = spline
    t = np.linspace(0, 1, max(8, int(math.dist(a, d) / step)))[:, None]
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


class Router:
    """Finds a way for one wire after the other, on every canvas that the graph is drawn on.

    Args:
        canvases: boxes [x, y, width, height] of the nodes by number, title included, for each canvas.
    """

    def __init__(self, canvases: list[dict]):
        self.numbers = [list(boxes) for boxes in canvases]
        self.corners = [np.array([[x, y, x + wide, y + high] for x, y, wide, high in boxes.values()]) for boxes in canvases]
        every = np.concatenate(self.corners)
        self.lanes = np.arange(every[:, 1].min() - MARGIN, every[:, 3].max() + MARGIN, LANE)
        self.used = []  # lanes in use: height, left and right end

    def boxes(self, own: tuple) -> list[np.ndarray]:
        """Corners [M, 4] that a wire must not come into, on each canvas; of the nodes at its ends the sides do not count."""
        grown = []
        for numbers, corners in zip(self.numbers, self.corners):
            across = np.array([-EDGE if number in own else AIR for number in numbers])
            grown.append(corners + np.stack([-across, np.full_like(across, -AIR), across, np.full_like(across, AIR)], 1))
        return grown

    def way(self, ends: list, own: tuple) -> list | None:
        """Reroute points of a wire, [] where it needs none, None where there is no way.

        Args:
            ends: its start and its end on each canvas.
            own: numbers of the nodes at its ends.
        """
        boxes = self.boxes(own)
        if free(ends, [], boxes):
            return []
        (left, begin), (right, end) = ends[0]
        near = sorted(self.lanes, key=lambda y: abs(y - begin) + abs(y - end))
        turns = [(y, left + out, right - into) for y in near for out, into in product(ASIDE, ASIDE)]
        for apart, shape in product(APART, SHAPES):
            for y, out, into in (turn for turn in turns if self._open(*turn, boxes, apart)):
                between = [[float(round(value)) for value in point] for point in shape(y, out, into, begin, end)]
                if free(ends, between, boxes):
                    self.used.append((y, min(out, into), max(out, into)))
                    return between
        return None

    def _open(self, y: float, out: float, into: float, boxes: list, apart: float) -> bool:
        """Whether a lane has no node on it and no wire too close, between where a wire comes and where it leaves."""
        low, high = min(out, into), max(out, into)
        if any(abs(y - lane) < apart and a < high and low < b for lane, a, b in self.used):
            return False
        return not any(((each[:, 1] < y) & (y < each[:, 3]) & (each[:, 0] < high) & (low < each[:, 2])).any() for each in boxes)


# Ways by their reroute points, from the simplest on: along a lane; the same with square corners.
SHAPES = (
    lambda y, out, into, begin, end: [(out, y), (into, y)],
    lambda y, out, into, begin, end: [(out, y), (into, y), (into, end)],
    lambda y, out, into, begin, end: [(out, begin), (out, y), (into, y)],
    lambda y, out, into, begin, end: [(out, begin), (out, y), (into, y), (into, end)],
)


def free(ends: list, between: list, boxes: list) -> bool:
    """Whether a wire through some points comes into no box, with its ends as each canvas has them."""
    for (start, stop), corners in zip(ends, boxes, strict=True):
        points = np.concatenate([along(spline, STEP) for spline in splines([start, *between, stop])])[:, None]
        if ((points > corners[:, :2]) & (points < corners[:, 2:])).all(2).any():
            return False
    return True
