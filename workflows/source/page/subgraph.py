"""A graph made into one node: what a person sets becomes its inputs, all else goes inside."""

import uuid
from dataclasses import dataclass

INPUT_NODE, OUTPUT_NODE = -10, -20
ROOM = 260  # between the nodes and the two that stand for the outside
MARGIN = 24  # of a group, beside its nodes
NAMESPACE = uuid.UUID("7b0c1f0e-52f1-4c0a-9a3e-6d8b1f6f5c11")  # ids stay the same from build to build


@dataclass(frozen=True)
class Outside:
    """An input or output of the node.

    Attributes:
        name: what links and saved values know it by.
        label: what a person reads.
        node: number of the node inside. For an input from another node: of the node that stands in for that other node.
        slot: name of its widget, or of its output.
    """

    name: str
    label: str
    node: int
    slot: str


@dataclass(frozen=True)
class Words:
    """What the node library says."""

    name: str
    category: str
    description: str
    aliases: tuple[str, ...]


def stable_id(*parts: str) -> str:
    """A uuid that depends on the parts alone."""
    return str(uuid.uuid5(NAMESPACE, "/".join(parts)))


def slot_index(slots: list, name: str) -> int:
    """Place of the slot of that name."""
    return next(index for index, slot in enumerate(slots) if slot["name"] == name)


class Wrapper:
    """Turns a saved workflow into a blueprint: a workflow whose only node holds the graph.

    Args:
        flat: the workflow with all inputs of its nodes; nodes such as Load Image stand in for what comes from outside.
        words: what the library says.
    """

    def __init__(self, flat: dict, words: Words):
        self.words = words
        self.nodes = {node["id"]: node for node in flat["nodes"] if node["type"] != "MarkdownNote"}
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        self.links = [dict(zip(names, link)) for link in flat["links"]]
        self.groups = flat["groups"]
        self.inputs, self.outputs = [], []

    def take_socket(self, outside: Outside) -> None:
        """What the stand-in gave now comes from outside, and the stand-in goes."""
        place = len(self.inputs)
        links = [link for link in self.links if link["origin_id"] == outside.node]
        for link in links:
            link |= {"origin_id": INPUT_NODE, "origin_slot": place}
        target = self.nodes[links[0]["target_id"]]["inputs"][links[0]["target_slot"]]
        self._add_input(outside, target["type"], [link["id"] for link in links])
        del self.nodes[outside.node]

    def take_widget(self, outside: Outside) -> None:
        """A widget can be set from outside."""
        node = self.nodes[outside.node]
        index = slot_index(node["inputs"], outside.slot)
        kind, number = node["inputs"][index]["type"], 1 + max(link["id"] for link in self.links)
        node["inputs"][index]["link"] = number
        self.links.append(
            {"id": number, "origin_id": INPUT_NODE, "origin_slot": len(self.inputs), "target_id": outside.node,
             "target_slot": index, "type": kind}
        )  # fmt: skip
        self._add_input(outside, kind, [number])

    def give(self, outside: Outside) -> None:
        """An output of a node goes outside."""
        node = self.nodes[outside.node]
        index = slot_index(node["outputs"], outside.slot)
        slot, number = node["outputs"][index], 1 + max(link["id"] for link in self.links)
        slot["links"] = [*(slot["links"] or []), number]
        self.links.append(
            {"id": number, "origin_id": outside.node, "origin_slot": index, "target_id": OUTPUT_NODE,
             "target_slot": len(self.outputs), "type": slot["type"]}
        )  # fmt: skip
        self.outputs.append(self._slot("output", outside, slot["type"], [number]))

    def _add_input(self, outside: Outside, kind: str, links: list[int]) -> None:
        self.inputs.append(self._slot("input", outside, kind, links))

    def _slot(self, side: str, outside: Outside, kind: str, links: list[int]) -> dict:
        made = stable_id(self.words.name, side, outside.name)
        return {"id": made, "name": outside.name, "type": kind, "linkIds": links, "label": outside.label}

    def blueprint(self, properties: dict) -> dict:
        """The workflow with one node.

        Args:
            properties: of that node.
        """
        subgraph = self.definition([group for group in map(self.fitted, self.groups) if group])
        number = 1 + max(self.nodes)  # none that is inside: the page would give that one another
        node = {
            "id": number, "type": subgraph["id"], "title": self.words.name, "pos": [0, 0], "size": [400, 200], "flags": {},
            "order": 0, "mode": 0, "properties": properties,
        }  # fmt: skip
        return {
            "id": stable_id(self.words.name, "workflow"), "revision": 0, "last_node_id": number,
            "last_link_id": max(link["id"] for link in self.links), "nodes": [node], "links": [], "groups": [],
            "definitions": {"subgraphs": [subgraph]}, "config": {}, "version": 0.4,
            "extra": {"BlueprintDescription": self.words.description, "BlueprintSearchAliases": list(self.words.aliases)},
        }  # fmt: skip

    def fitted(self, group: dict) -> dict | None:
        """A group as wide as those of its nodes that are left; None if there are none."""
        left, top, width, height = group["bounding"]
        inside = [
            node for node in self.nodes.values() if left <= node["pos"][0] <= left + width and top <= node["pos"][1] <= top + height
        ]
        if not inside:
            return None
        first = min(node["pos"][0] for node in inside) - MARGIN
        last = max(node["pos"][0] + node["size"][0] for node in inside) + MARGIN
        return group | {"bounding": [first, top, last - first, height]}

    def definition(self, groups: list[dict]) -> dict:
        """The graph inside."""
        left = min(node["pos"][0] for node in self.nodes.values())
        top = min(node["pos"][1] for node in self.nodes.values())
        right = max(node["pos"][0] + node["size"][0] for node in self.nodes.values())
        return {
            "id": stable_id(self.words.name),
            "version": 1,
            "state": {
                "lastGroupId": max((group["id"] for group in groups), default=0), "lastNodeId": max(self.nodes),
                "lastLinkId": max(link["id"] for link in self.links), "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": self.words.name,
            "category": self.words.category,
            "description": self.words.description,
            "inputNode": {"id": INPUT_NODE, "bounding": [left - ROOM, top, 160, 40 + 20 * len(self.inputs)]},
            "outputNode": {"id": OUTPUT_NODE, "bounding": [right + ROOM / 2, top, 120, 40 + 20 * len(self.outputs)]},
            "inputs": self.inputs,
            "outputs": self.outputs,
            "widgets": [],
            "nodes": list(self.nodes.values()),
            "groups": groups,
            "links": self.links,
            "extra": {},
        }  # fmt: skip
