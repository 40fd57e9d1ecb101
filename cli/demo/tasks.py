"""The tasks of the embedded model, and their graphs, which are those that `workflows` ships."""

import json

from hosting.process import ROOT

TASKS = {
    "t2v": "a video from words alone",
    "i2v": "a picture comes alive",
    "start-end": "from a first picture to a last one",
    "keyframes": "through three pictures",
    "completion": "the middle of a clip",
    "extend": "13 frames of a clip go on",
    "prepend": "what came before 9 frames of a clip",
    "transition": "from the end of one clip to the start of another",
    "loop": "from the end of a clip back to its start",
}
NAMES = {
    "t2v": "Text to video",
    "i2v": "Image to video",
    "start-end": "Start and end",
    "keyframes": "Keyframes",
    "completion": "Completion",
    "extend": "Extension",
    "prepend": "Extension backwards",
    "transition": "Transition",
    "loop": "Loop",
}
CAPTIONS = ROOT / "assets" / "nano" / "captions.json"


def demo_graph(task: str, seed: int = 0, steps: int = 10) -> dict:
    """The graph of a task in API format, on the files of assets/nano.

    Args:
        task: one of TASKS, or another name of a graph `demo_...`.
        seed: of the noise.
        steps: sampling steps.
    """
    file = ROOT / "workflows" / "api" / f"demo_{task.replace('-', '_')}.json"
    graph = json.loads(file.read_text(encoding="utf-8"))
    for node in graph.values():
        if "seed" in node["inputs"]:
            node["inputs"] |= {"seed": seed, "steps": steps}
    return graph


def prompt_of(graph: dict) -> str:
    """The words of the stored prompt that a graph goes by, the first where it takes several."""
    (sampler,) = [node["inputs"] for node in graph.values() if "seed" in node["inputs"]]
    node, _ = sampler["positive"] if "positive" in sampler else sampler["positive.prompt0"]
    return json.loads(CAPTIONS.read_text(encoding="utf-8"))[graph[node]["inputs"]["prompt_name"]]
