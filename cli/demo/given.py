"""What a picture of a video says of it: its frames, which of them were given, its task and its words."""

from pathlib import Path

import av
from PIL import Image

from .sheets import Row
from .tasks import NAMES, TASKS, prompt_of


def given_of(graph: dict, frames: int, inputs: Path) -> set[int]:
    """The frames of a graph's video that it is given.

    Args:
        graph: in API format.
        frames: how many the video has.
        inputs: where the graph's clips lie.
    """
    found = set()
    for id in used(graph):
        node = graph[id]
        values = node["inputs"]
        if node["class_type"] == "PusaKeyframes":
            found |= {frame_at(place, frames) for place in values["positions"].split(",")}
        elif node["class_type"] == "PusaTimeline":
            for line in values["timeline"].splitlines():
                first, *last = (frame_at(place, frames) for place in line.split(":")[0].split("-"))
                found |= set(range(first, (last or [first])[0] + 1))
        elif node["class_type"] == "PusaVideoFrames":
            first = 0 if values["place"] == "start" else frames - values["frames"]
            found |= set(range(first, first + values["frames"]))
        elif node["class_type"] == "PusaExtendVideo":
            new = values["new_frames"] * values["hops"]
            found |= set(range(new, frames) if values["direction"] == "backwards" else range(frames - new))
        elif node["class_type"] == "PusaTransition":
            before = len(frames_of(inputs / file_behind(graph, values["video"])))
            found |= set(range(frames)) - set(range(before, before + values["new_frames"]))
    return found


def used(graph: dict) -> set[str]:
    """The nodes of a graph, without those behind the side of a switch that is off."""
    links = {id: [value[0] for value in node["inputs"].values() if isinstance(value, list)] for id, node in graph.items()}
    found, ahead = set(), list(graph.keys() - {id for behind in links.values() for id in behind})
    for id, node in graph.items():
        if node["class_type"] == "ComfySwitchNode":
            links[id] = [node["inputs"]["on_true" if node["inputs"]["switch"] else "on_false"][0]]
    while ahead:
        id = ahead.pop()
        if id not in found:
            found.add(id)
            ahead += links[id]
    return found


def frame_at(place: str, frames: int) -> int:
    """The frame that a place of a ready graph names: a number, or `last`."""
    return frames - 1 if place.strip() == "last" else int(place)


def file_behind(graph: dict, link: list) -> str:
    """The file of the clip that a link leads back to."""
    values = graph[link[0]]["inputs"]
    link = next((value for value in values.values() if isinstance(value, list)), None)
    return file_behind(graph, link) if link else values["file"]


def frames_of(video: Path) -> list[Image.Image]:
    """Every frame of a video."""
    with av.open(str(video)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def row_of(task: str, graph: dict, frames: list[Image.Image], inputs: Path) -> Row:
    """The row of a task's video; arguments as of ``given_of``."""
    return Row(NAMES[task], TASKS[task], prompt_of(graph), frames, given_of(graph, len(frames), inputs))
