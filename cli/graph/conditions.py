"""Given pictures and clips, put into a graph. Positions count latent frames, as in the official scripts."""

from .filling import Filling
from .links import GraphError, drop, only
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


def both_ends(filling: Filling, settings: Settings) -> None:
    """A clip whose start and end are kept: how many latent frames of each, and how far they may change."""
    ends, factor = {place: placed(filling, place) for place in ("start", "end")}, filling.factor
    if positions := settings.cond_position:
        at = resolve(positions, length := latent_frames(filling), factor)
        counts = {
            "start": next((number for number in range(length) if number not in at), length),
            "end": next((number for number in range(length) if length - 1 - number not in at), length),
        }
        if sorted(at) != at or not all(counts.values()) or sum(counts.values()) != len(at):
            raise GraphError(
                f"--cond_position {text(positions)}: give the first and the last latent frames of {length} in order, without "
                f"a gap in either, for example 0,1,{length - 2},{length - 1}"
            )
        ends["start"]["frames"] = factor * (counts["start"] - 1) + 1
        ends["end"]["frames"] = factor * counts["end"] + 1
    if noise := settings.noise_multipliers:
        start = (int(ends["start"]["frames"]) - 1) // factor + 1
        check_count("noise_multipliers", noise, start + (int(ends["end"]["frames"]) - 1) // factor, one_for_all=True)
        ends["start"]["noise"] = text(noise if len(noise) == 1 else noise[:start])
        ends["end"]["noise"] = text(noise if len(noise) == 1 else noise[start:])
    for id, node in list(filling.graph.items()):
        if node["class_type"] == "PusaVideoFrames":
            filling.upload(id, "video", "LoadVideo", settings.video_paths[0 if node["inputs"]["place"] == "start" else -1])


def placed(filling: Filling, place: str) -> dict:
    """The inputs of the node that gives the frames at one end."""
    nodes = [node["inputs"] for node in filling.graph.values() if node["class_type"] == "PusaVideoFrames"]
    found = [inputs for inputs in nodes if inputs.get("place") == place]
    if len(found) != 1:
        many = len(found) or "no"
        raise GraphError(f"{many} nodes PusaVideoFrames in the graph have place {place}; exactly one can be filled in")
    return found[0]


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
