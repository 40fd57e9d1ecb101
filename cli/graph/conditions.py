"""Given pictures and clips, put into a graph. Positions count latent frames, as in the official scripts."""

from .filling import Filling
from .links import GraphError, drop, links, new_id, only
from .settings import Settings


def pictures(filling: Filling, settings: Settings) -> None:
    """Pictures for Keyframes (Pusa), where they go, and how far they may change."""
    keyframes = only(filling.graph, "PusaKeyframes")
    inputs = filling.graph[keyframes]["inputs"]
    sockets = [name for name in inputs if name.startswith("images.")]
    files, positions = settings.image_paths, settings.cond_position
    if positions:
        resolve(positions, latent_frames(filling), filling.factor)
        check_count("cond_position", positions, len(files))
        inputs |= {"positions": text(positions), "unit": "latent"}
    elif len(files) != len(sockets):
        raise GraphError(f"--cond_position is missing: {len(files)} pictures are given, and the graph places {len(sockets)}")
    if settings.noise_multipliers:
        check_count("noise_multipliers", settings.noise_multipliers, len(files), one_for_all=True)
        inputs["noise"] = text(settings.noise_multipliers)
    elif len(files) != len(sockets) and "," in str(inputs["noise"]):
        raise GraphError(f"--noise_multipliers is missing: the graph has {inputs['noise']}, for {len(sockets)} pictures")
    for number, file in enumerate(files):
        socket = f"images.image{number}"
        inputs.setdefault(socket, list(inputs["images.image0"]))
        filling.upload(keyframes, socket, "LoadImage", file)
    for number in range(len(files), len(sockets)):
        drop(filling.graph, keyframes, f"images.image{number}")


def kept(filling: Filling, settings: Settings) -> None:
    """Latent frames of a clip, or of two, that are kept at their places, and how far they may change.

    Those counted from the start are of the first frames of the clip, those counted from the end (-1, last) of its last ones; of
    two clips each has an end of the video. What lies between is 1 to the nodes, which is free.
    """
    noise, two = settings.noise_multipliers, len(settings.video_paths) > 1
    if settings.cond_position:
        at = resolve(settings.cond_position, length := latent_frames(filling), filling.factor)
        if noise:
            check_count("noise_multipliers", noise, len(at), one_for_all=True)
        levels = dict(zip(at, noise * len(at) if len(noise) == 1 else noise or [None] * len(at)))
        of_end = counted_from_the_end(settings.cond_position, at, length, two)
        first, last = sorted(set(at) - of_end), sorted(of_end)
        if two and not (first and last):
            raise GraphError(f"--cond_position {text(settings.cond_position)} leaves out a clip; give 0 or more, and -1 or less")
        if first and last and first[-1] >= last[0]:
            raise GraphError(
                f"--cond_position {text(settings.cond_position)}: {first[-1]} lies behind {last[0] - length}, which is counted "
                f"from the end ({last[0]}); count all of them from one side"
            )
        set_end(filling, "start", range(first[-1] + 1) if first else (), levels)
        set_end(filling, "end", range(last[0], length) if last else (), levels)
    elif noise:
        ends = {place: placed(filling, place) for place in ("start", "end")}
        start = (int(ends["start"]["frames"]) - 1) // filling.factor + 1
        check_count("noise_multipliers", noise, start + (int(ends["end"]["frames"]) - 1) // filling.factor, one_for_all=True)
        ends["start"]["noise"] = text(noise if len(noise) == 1 else noise[:start])
        ends["end"]["noise"] = text(noise if len(noise) == 1 else noise[start:])
    for id, node in list(filling.graph.items()):
        if node["class_type"] == "PusaVideoFrames":
            filling.upload(id, "video", "LoadVideo", settings.video_paths[0 if node["inputs"]["place"] == "start" else -1])
            if settings.halves and node["inputs"]["place"] == "end":
                first_half(filling, node["inputs"])


def counted_from_the_end(positions: tuple, at: list, length: int, two: bool) -> set:
    """Which latent frames count from the end of a clip: -1 or last, and of two clips those that reach the end of the video."""
    found = {number for position, number in zip(positions, at) if position == "last" or position < 0}
    while two and (before := min(found, default=length) - 1) in at:
        found.add(before)
    return found


def set_end(filling: Filling, place: str, frames, levels: dict) -> None:
    """Set the node of one end to so many latent frames, those without a level free; without any, take it away."""
    inputs = placed(filling, place, required=bool(frames))
    if not frames:
        if inputs:
            take_away(filling.graph, inputs)
        return
    given = [levels.get(number, 1.0) for number in frames]
    if None in given:
        if "," in (own := str(inputs["noise"])) or ".." in own:
            raise GraphError(f"--noise_multipliers is missing: the graph has {own}, for the frames that it keeps")
        given = [float(own) if level is None else level for level in given]
    inputs["frames"] = filling.factor * (len(frames) - (place == "start")) + 1
    inputs["noise"] = text(tuple(given) if len(set(given)) > 1 else tuple(given[:1]))


def take_away(graph: dict, inputs: dict) -> None:
    """Take a condition node out of its chain, and what served nothing else."""
    id = next(id for id, node in graph.items() if node["inputs"] is inputs)
    before = inputs.pop("condition", None)
    for node in graph.values():
        for name in [name for name, value in node["inputs"].items() if value == [id, 0]]:
            if before:
                node["inputs"][name] = before
            else:
                del node["inputs"][name]
    for name in links(graph[id]):
        drop(graph, id, name)
    del graph[id]


def first_half(filling: Filling, inputs: dict) -> None:
    """Cut a clip to half the frames of the video before it reaches a node, as the official transition does."""
    id = new_id(filling.graph)
    cut = {"image": inputs["video"], "batch_index": 0, "length": (int(filling.latent("cond_position_end")["length"]) - 1) // 2}
    filling.graph[id] = {"inputs": cut, "class_type": "ImageFromBatch", "_meta": {"title": "First half"}}
    inputs["video"] = [id, 0]


def placed(filling: Filling, place: str, required: bool = True) -> dict | None:
    """The inputs of the node that gives the frames at one end; None where there is none and none is required."""
    nodes = [node["inputs"] for node in filling.graph.values() if node["class_type"] == "PusaVideoFrames"]
    found = [inputs for inputs in nodes if inputs.get("place") == place]
    if len(found) != 1 and (found or required):
        many = len(found) or "no"
        raise GraphError(f"{many} nodes PusaVideoFrames in the graph have place {place}; exactly one can be filled in")
    return found[0] if found else None


def clips(filling: Filling, settings: Settings) -> None:
    """A clip to extend, or one or two to lead between."""
    if positions := settings.cond_position:
        if list(positions) != list(range(len(positions))):
            raise GraphError(f"--cond_position {text(positions)}: extend takes the latent frames from 0 on, for example 0,1,2,3")
        filling.inputs["overlap"] = filling.factor * (len(positions) - 1) + 1
    if settings.noise_multipliers:
        filling.inputs["noise"] = text(settings.noise_multipliers)
    if len(settings.video_paths) == 1 and "video_after" in filling.inputs:
        drop(filling.graph, filling.sampler, "video_after")
    for socket, file in zip(("video", "video_after"), settings.video_paths):
        if socket not in filling.inputs:
            raise GraphError("--video_paths: the graph has no second clip; give one, or a graph of a transition")
        filling.upload(filling.sampler, socket, "LoadVideo", file)


def latent_frames(filling: Filling) -> int:
    """Latent frames of the video that is made."""
    return (int(filling.latent("cond_position")["length"]) - 1) // filling.factor + 1


def resolve(positions: tuple, length: int, factor: int) -> list:
    """Latent frames in 0..length-1 from integers, negative ones from the end, and "last"."""
    at = []
    for position in positions:
        number = length - 1 if position == "last" else position
        if not -length <= number < length:
            raise GraphError(
                f"--cond_position {position}: the video has {length} latent frames ({factor * (length - 1) + 1} frames), "
                f"0 to {length - 1}, or -{length} to -1 from the end"
            )
        if number % length in at:
            raise GraphError(f"--cond_position names latent frame {number % length} twice")
        at.append(number % length)
    return at


def check_count(flag: str, values: tuple, count: int, one_for_all: bool = False) -> None:
    """As many values as given frames."""
    if len(values) != count and not (one_for_all and len(values) == 1):
        allowed = f"{count}, or one for all" if one_for_all else count
        raise GraphError(f"--{flag} has {len(values)} values for {count} given frame{'s' * (count > 1)}; it takes {allowed}")


def text(values: tuple) -> str:
    """Values as a node's widget takes them."""
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
