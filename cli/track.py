"""What a server says: how far a prompt is, and why it refused one."""

import asyncio
from dataclasses import dataclass

STEP = 10  # what a step of a sampler weighs beside a node
STEPS = 20  # of a sampler that does not say how many it takes


@dataclass(frozen=True)
class Progress:
    """How far a prompt is: the node at work, its steps, and how much is through, in nodes and steps of samplers by weight.

    Attributes:
        weight: of the node at work; above 1 it samples.
    """

    node_id: str
    title: str
    value: float
    maximum: float
    done: int
    total: int
    weight: int = 1

    @property
    def fraction(self) -> float:
        """Share of the whole, in [0, 1]; a node at work counts by its steps."""
        current = self.value / self.maximum if self.maximum else 0.0
        return min((self.done + self.weight * current) / self.total, 1.0)


class Tracker:
    """A queued prompt: its nodes, those that are through, and the events not yet looked at."""

    def __init__(self, graph: dict):
        self.titles = {id: (node.get("_meta") or {}).get("title") or node["class_type"] for id, node in graph.items()}
        self.weights = {id: weight(node["inputs"]) for id, node in graph.items()}
        self.done = set()
        self.events = asyncio.Queue()

    def progress(self, kind: str, data: dict):
        """What an event says about the nodes at work. Nodes that a node expanded into do not count."""
        if kind == "execution_cached":
            self.done.update(self.titles.keys() & data["nodes"])
        if kind != "progress_state":
            return
        states = {id: state for id, state in data["nodes"].items() if id in self.titles}
        self.done.update(id for id, state in states.items() if state["state"] == "finished")
        total = sum(self.weights.values())
        for id, state in states.items():
            if state["state"] == "running":
                done = sum(self.weights[other] for other in self.done - {id})
                yield Progress(id, self.titles[id], state["value"], state["max"], done, total, self.weights[id])


def weight(inputs: dict) -> int:
    """What a node weighs: one, but a sampler its steps."""
    if "latent_image" not in inputs and not {"steps", "cfg"} <= inputs.keys():
        return 1
    counts = [inputs.get("steps", STEPS), inputs.get("hops", 1)]
    steps, hops = (count if isinstance(count, int) else 1 for count in counts)
    return STEP * steps * hops


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
