"""Random and hostile inputs over all nodes of the pack: wrong types, extremes, NaN, long texts, odd links."""

from __future__ import annotations

import random

from .host import Answer, Bench
from .material.drafts import OURS, Draft
from .material.judge import wrong_result
from .tally import Tally

NAN, INF = float("nan"), float("inf")
SPOILED = (0, 0, 1, 1, 1, 2)  # inputs of a node that are spoiled
BATCH = 20  # graphs that are sent again together, after the server has forgotten them
NUMBERS = (0, -1, 1, 0.5, 2**31, 2**63, 2**64, -(2**70), 1e308, -1e308, 1e-320, NAN, INF, -INF)
WORDS = (
    "", " ", "nan", "inf", "-inf", "1e999", "1", "none", "\0", "a\nb", "\ud800", "../../x", "/etc/passwd", "C:\\x", "x.safetensors",
    "x" * 300, "0" * 100_000, "0," * 20_000, "%s{0}", "\U0001f600", "CON", ".", "made/../../../x",
)  # fmt: skip
STRUCTURES = (None, True, [], {}, [[]], [1, 2, 3], {"a": 1}, {"__value__": []}, {"__value__": [NAN]}, [None, 0], ["n0"])
LETTERS = "0123456789.,- last\uff0c\uff10\u3001;:x\u00bd\u0663"


def hostile_text(draw: random.Random) -> str:
    """A text for positions or noise: letters of the grammar in any order, or parts of it."""
    if draw.random() < 0.5:
        return "".join(draw.choice(LETTERS) for _ in range(draw.randrange(12)))
    parts = ("0", "1", "-1", "last", "0-3", "2-1", "99", "0.5", "1.5", "0.0..0.5", "..", "1e400", "-0", "0,5", "nan", "last-1")
    return draw.choice((", ", ",", " ", ";")).join(draw.choice(parts) for _ in range(draw.randrange(5)))


def extremes(settings: dict) -> list:
    """The ends of a number's range and what lies beyond; the upper end only where it costs nothing to run."""
    low, high = settings["min"], settings["max"]
    return [low, low - 1, high + 1, *([high] if high <= 1000 and isinstance(high, float) or high > 2**32 else [])]


def spoil(draft: Draft, class_type: str, id: str) -> None:
    """Put something odd into one input of a node."""
    draw, inputs = draft.draw, draft.graph[id]["inputs"]
    asked = draft.info[class_type]["input"]
    specs = asked["required"] | asked.get("optional", {})
    name = draw.choice(list(specs))
    kind, settings = specs[name][0], (specs[name][1:] or [{}])[0]
    if kind == "COMFY_AUTOGROW_V3":
        name = f"{name}.{settings['template']['prefix']}{draw.choice((0, 0, 1, 7, 49, 100))}"
        kind = next(iter(settings["template"]["input"]["required"].values()))[0]
    ways = [
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice(WORDS),
        lambda: draw.choice(STRUCTURES),
        lambda: draft.link(draw.choice(("MODEL", "VAE", "CONDITIONING", "LATENT", "IMAGE", "VIDEO", "SIGMAS", "PUSA_CONDITION"))),
        lambda: [draw.choice(list(draft.graph)), draw.choice((0, 1, 9, -1))],
    ]
    if kind == "STRING":
        ways += [lambda: hostile_text(draw)] * 8
        ways.append(lambda: [draft.add("PrimitiveString", value=draw.choice((*WORDS, hostile_text(draw)))), 0])
    elif kind in ("INT", "FLOAT"):
        ways += [lambda: draw.choice(extremes(settings)), lambda: draft.given(name, kind, settings)[name]] * 4
        ways += [lambda: [draft.add("PrimitiveFloat", value=draw.choice(NUMBERS)), 0]] * 3
        ways += [lambda: [draft.add("PrimitiveInt", value=draw.choice((0, -1, 6, 2**62, -(2**62)))), 0]] * 3
    elif kind == "COMBO":
        ways += [lambda: draw.choice(settings["options"])] * 8
    elif kind == "BOOLEAN":
        ways += [lambda: draw.choice((True, False))] * 2
    else:
        ways += [lambda: draft.link(kind)] * 4
    if draw.random() < 0.05:
        inputs.pop(name, None)
    else:
        inputs[name] = draw.choice(ways)()


def hostile(info: dict, draw: random.Random) -> tuple[dict, str]:
    """(a graph around one node of the pack with odd inputs, the id of that node). Every output of it is told."""
    draft = Draft(info, draw)
    class_type = draw.choice(sorted(name for name in info if name.startswith(OURS)))
    id = draft.pack_node(class_type)
    for _ in range(draw.choice(SPOILED)):
        spoil(draft, class_type, id)
    for output in range(len(info[class_type]["output"])):
        draft.probe([id, output])
    for name, value in list(draft.graph[id]["inputs"].items()):
        if name in ("latent", "latent_image", "video", "video_after") and is_link(value, draft.graph):
            draft.probe(value)
    return draft.graph, id


def is_link(value, graph: dict) -> bool:
    """Whether an input comes from another node of the graph."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Try the graphs of these numbers, and those that succeeded a second time."""
    info, kinds, waiting = bench.get("/object_info"), {}, []
    for number in numbers:
        graph, id = hostile(info, tally.random(number))
        answer = bench.ask(graph)
        tally.tried += 1
        kinds[answer.kind] = kinds.get(answer.kind, 0) + 1
        if answer.kind == "crash":
            tally.fault("crash", number, answer.words, graph)
        elif answer.kind == "success":
            if words := wrong_result(graph, id, answer.told):
                tally.fault("silent", number, words, graph)
            waiting.append((number, graph, answer))
        if len(waiting) == BATCH:
            _again(bench, tally, waiting)
    _again(bench, tally, waiting)
    names = {"sentence": "sentences of the pack", "refused": "refusals", "host": "errors of ComfyUI's own nodes"}
    tally.notes.append(", ".join(f"{count} {names.get(kind, kind)}" for kind, count in sorted(kinds.items())))


def _again(bench: Bench, tally: Tally, waiting: list[tuple[int, dict, Answer]]) -> None:
    bench.free()
    for number, graph, answer in waiting:
        second = bench.ask(graph)
        if (second.kind, second.told) != (answer.kind, answer.told):
            words = f"another result the second time: {second.kind} {second.words} {second.told} after {answer.told}"
            tally.fault("crash" if second.kind == "crash" else "silent", number, words, graph)
    waiting.clear()
