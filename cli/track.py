"""What a server says: how far a prompt is, and why it refused one."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a prompt is: the node at work, its steps, and the nodes that are through."""

    node_id: str
    node_type: str
    value: float
    maximum: float
    nodes_done: int
    nodes_total: int

    @property
    def fraction(self) -> float:
        """Share of the nodes, in [0, 1]; a node at work counts by its steps."""
        current = self.value / self.maximum if self.maximum else 0.0
        return min((self.nodes_done + current) / self.nodes_total, 1.0)


class Tracker:
    """A queued prompt: the types of its nodes, those that are through, and the events not yet looked at."""

    def __init__(self, types: dict):
        self.types = types
        self.done = set()
        self.events = asyncio.Queue()

    def progress(self, kind: str, data: dict):
        """What an event says about the nodes at work. Nodes that a node expanded into do not count."""
        if kind == "execution_cached":
            self.done.update(self.types.keys() & data["nodes"])
        if kind != "progress_state":
            return
        states = {id: state for id, state in data["nodes"].items() if id in self.types}
        self.done.update(id for id, state in states.items() if state["state"] == "finished")
        for id, state in states.items():
            if state["state"] == "running":
                done = len(self.done - {id})
                yield Progress(id, self.types[id], state["value"], state["max"], done, len(self.types))


def describe_rejection(error, node_errors: dict) -> str:
    """The server's report as lines that name node, input and reason."""
    if isinstance(error, dict):
        words = (error.get("message") or "invalid prompt", error.get("details"))
        head = ". ".join(word.strip().rstrip(".") for word in words if word)
    else:
        head = str(error or "a part of the graph is invalid")
    lines = ["The server rejected the prompt: " + head.splitlines()[0]]
    for node_id, report in node_errors.items():
        for problem in report["errors"]:
            name = (problem.get("extra_info") or {}).get("input_name")
            where = f"node {node_id} ({report.get('class_type')})" + (f", input {name}" if name else "")
            lines.append(f"  {where}: {sentence(problem, name)}")
    return "\n".join(lines)


def sentence(problem: dict, name: str | None) -> str:
    """What is wrong with an input: in the words of its node, if it has its own, else in those of the server."""
    details = problem.get("details")
    if problem.get("type") == "custom_validation_failed" and details != name:
        return details.removeprefix(f"{name} - ")
    return problem["message"] + (f" ({details})" if details not in (None, "", name) else "")
