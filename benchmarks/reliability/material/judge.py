"""Whether a result is one that its graph asks for: finite, and of the right shape."""

from __future__ import annotations

LINKED = ("latent", "latent_image", "video", "video_after")


def wrong_result(graph: dict, id: str, told: dict) -> str:
    """What is wrong with the outputs of a node of the pack; nothing if they are as asked.

    Args:
        told: of each probe of the graph, what came to it.
    """
    node = graph[id]
    seen = {tuple(graph[probe]["inputs"]["value"]): value for probe, value in told.items()}
    outputs = {output: value for (source, output), value in seen.items() if source == id}
    given = {name: seen.get(tuple(node["inputs"].get(name) or ())) for name in LINKED if isinstance(node["inputs"].get(name), list)}
    if any(not_finite(value) for value in outputs.values()):
        return f"a result that is not finite: {outputs}"
    check = CHECKS.get(node["class_type"])
    return check(node["inputs"], given, outputs) if check else ""


def not_finite(value) -> bool:
    """Whether a value holds NaN or infinity anywhere."""
    if isinstance(value, dict):
        return value.get("finite") is False or any(map(not_finite, value.values()))
    if isinstance(value, list):
        return any(map(not_finite, value))
    return value in ("nan", "inf", "-inf")


CHANNELS = 16  # of a Wan latent


def _same_latent(name: str, output: int):
    """The latent at an output has the shape of the one at an input; empty ones take the model's channels, as in KSampler."""

    def check(inputs, given, outputs) -> str:
        source, made = given.get(name), outputs[output]
        if source is None:
            return ""
        (batch, _, *size), found = source["samples"]["shape"], made["samples"]["shape"]
        wanted = [batch, CHANNELS, *([1] if len(size) == 2 else []), *size]
        return "" if found == wanted else f"a latent of {found} where {wanted} is asked for"

    return check


def _scheduler(inputs, given, outputs) -> str:
    steps, found = inputs["steps"], outputs[0]["shape"]
    if isinstance(steps, list):
        return ""
    return "" if found == [int(steps) + 1] else f"sigmas of {found} for {steps} steps"


def _frames(value: dict) -> list[int]:
    return value["images"]["shape"] if "images" in value else value["shape"]


def _joined(inputs, given, outputs) -> str:
    """The frames of a joined video: those given, and as many new ones as asked for."""
    hops = inputs.get("hops", 1)
    asked = [inputs["new_frames"], hops]
    if given.get("video") is None or inputs.get("resample", "keep") != "keep" or any(isinstance(each, list) for each in asked):
        return ""
    count, *size = _frames(given["video"])
    count += int(inputs["new_frames"]) * int(hops)
    if given.get("video_after") is not None:
        count += _frames(given["video_after"])[0]
    wanted = [count, *size[:2], 3]
    found = {name: _frames(outputs[output]) for name, output in (("joined", 0), ("video", 3))}
    return "" if all(shape == wanted for shape in found.values()) else f"{found} where {wanted} is asked for"


def _placed(inputs, given, outputs) -> str:
    """A condition is for the latent that was given."""
    latent = given.get("latent")
    if latent is None:
        return ""
    asked, condition = latent["samples"]["shape"], outputs[0]
    target = [int(side) for side in condition["target"]]
    return "" if target == asked[1:] else f"a condition for {target}, the latent is {asked}"


CHECKS = {
    "PusaKSampler": _same_latent("latent_image", 0),
    "PusaApplyCondition": _same_latent("latent", 1),
    "PusaScheduler": _scheduler,
    "PusaExtendVideo": _joined,
    "PusaTransition": _joined,
    "PusaTimeline": _placed,
    "PusaKeyframes": _placed,
    "PusaVideoFrames": _placed,
    "PusaLatentFrames": _placed,
}
