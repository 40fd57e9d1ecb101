"""The tasks of the command line, the graphs that they fill, and the settings they take."""

import json
from dataclasses import dataclass
from pathlib import Path

from hosting.process import ROOT

from .links import GraphError, drop, links, new_id, only, path_to, source_of

GRAPHS = ROOT / "workflows" / "api"
MODELS = ("wan22", "wan21", "mochi", "nano")
LACKING = {"wan21": ("timeline",), "mochi": ("timeline",)}  # tasks that there is no graph of
MOCHI_FRAMES = {"start": 1, "end": 7}  # of a clip, where its start and end are kept
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Task:
    """What a task takes.

    Attributes:
        graph: its name in the file names of workflows/api; `demo` is that of the embedded model.
        sampler: the node that samples.
        files: what is given: pictures, videos, a timeline or nothing; between `least` and `most` of them.
        text: what it makes.
        example: flags of an example.
        names: what it is called elsewhere too.
    """

    graph: str
    demo: str
    sampler: str
    files: str
    least: int
    most: int
    text: str
    example: str
    names: tuple = ()

    @property
    def suffixes(self) -> tuple:
        """The files that a folder of jobs is made of; () where one file is not enough for a job."""
        kinds = {"": (".txt",), "pictures": PICTURES, "videos": VIDEOS, "timeline": ()}
        return kinds[self.files] if self.least <= 1 else ()


TASKS = {
    "t2v": Task("t2v", "t2v", "PusaKSampler", "", 0, 0, "a video from words", '--prompt "A hummingbird at red flowers"'),
    "i2v": Task(
        "i2v", "i2v", "PusaKSampler", "pictures", 1, 50, "a picture comes alive",
        '--prompt "She turns to the sea" --image_paths beach.jpg --noise_multipliers 0.2 --lightx2v', ("ti2v", "quick"),
    ),
    "start-end": Task(
        "start_end", "start_end", "PusaKSampler", "pictures", 2, 2, "from a first picture to a last one",
        '--prompt "The door opens" --image_paths shut.png open.png --noise_multipliers 0.2,0.5',
        ("start_end", "start_end_frames"),
    ),
    "keyframes": Task(
        "keyframes", "keyframes", "PusaKSampler", "pictures", 1, 50, "through any pictures at any latent frames",
        '--prompt "A year passes" --image_paths may.png july.png snow.png --cond_position 0,10,20 --noise_multipliers 0.2,0.4,0.6',
        ("multi_frames", "multi-frames"),
    ),
    "timeline": Task(
        "timeline", "timeline", "PusaKSampler", "timeline", 1, 1, "pictures and clips anywhere, as lines of a text",
        '--prompt "A year passes" --timeline film.txt --lightx2v',
    ),
    "completion": Task(
        "completion", "completion", "PusaKSampler", "videos", 1, 2,
        "any latent frames of a clip kept, the others new: the official v2v, its extension (the first 13 of 81 frames) too",
        '--prompt "A surfer" --video_path wave.mp4 --cond_position 0,1,2,-3,-2,-1 --noise_multipliers 0.3', ("v2v", "extension"),
    ),
    "extend": Task(
        "extension", "extend", "PusaExtendVideo", "videos", 1, 1, "a clip made longer from its end on, in any number of hops",
        '--prompt "The ship sails on" --prompt "It reaches a harbour" --video_path ship.mp4 --hops 2',
    ),
    "transition": Task(
        "transition", "transition", "PusaTransition", "videos", 1, 2, "from one clip to another, or back to its own start: a loop",
        '--prompt "Day turns into night" --video_paths day.mp4 night.mp4',
    ),
}  # fmt: skip


def task_graph(task: Task, model: str, lightx2v: bool, folder: Path = GRAPHS) -> tuple:
    """The graph of a task: (its name, the graph). Where none has the LightX2V LoRA as asked for, it is put in or taken out.

    Raises:
        GraphError: there is none.
    """
    if model == "nano":
        graph = read_graph(folder / f"demo_{task.demo}.json")
        return f"demo_{task.demo}", graph if task.sampler == "PusaKSampler" else with_sound(graph, task.sampler)
    if task.graph in (lacks := LACKING.get(model, ())):
        *most, last = (name for name, other in TASKS.items() if other.graph not in lacks)
        raise GraphError(f"--model {model} has no graph for {task.graph}; its tasks are {', '.join(most)} and {last}")
    distilled = f"wan22_lightx2v_{task.graph}"
    name = f"{model}_{task.graph}"
    if model == "wan21" and lightx2v:  # it takes the LoRA of the low-noise expert
        other = read_graph(folder / f"{distilled}.json")
        pair = other[only(other, "PusaModelPairLoader")]["inputs"]
        return f"{name} with LightX2V", distil(read_graph(folder / f"{name}.json"), pair["distill_lora_name_low"], 4, 1.0)
    if model == "mochi" and task.graph == "completion":
        return name, with_a_clip(read_graph(folder / f"{model}_{TASKS['i2v'].graph}.json"))
    if lightx2v:
        return distilled, read_graph(folder / f"{distilled}.json")
    if (folder / f"{name}.json").is_file() or model in ("wan21", "mochi"):
        return name, read_graph(folder / f"{name}.json")
    return f"{distilled} without LightX2V", distil(read_graph(folder / f"{distilled}.json"), "none", 30, 3.0)


def with_sound(graph: dict, class_type: str) -> dict:
    """A graph that hands a node frames of clips, and saves frames of it, with the sound and frame rate of both beside them."""
    sampler = only(graph, class_type)
    inputs = graph[sampler]["inputs"]
    for socket in [socket for socket in ("video", "video_after") if socket in inputs]:
        path = path_to(graph, sampler, socket, ("GetVideoComponents",))
        clip, made = source_of(graph, path[-1]), new_id(graph)
        beside = {"images": inputs[socket], "audio": [clip, 1], "fps": [clip, 2], "bit_depth": 8}
        graph[made] = {"inputs": beside, "class_type": "CreateVideo", "_meta": {"title": "Create Video"}}
        inputs[socket] = [made, 0]
    joined, saved = new_id(graph), path_to(graph, only(graph, "SaveVideo"), "video", ("CreateVideo",))
    for node in graph.values():
        node["inputs"] |= {name: [joined, 0] for name, value in node["inputs"].items() if value == [sampler, 0]}
    graph[source_of(graph, saved[-1])]["inputs"] |= {"audio": [joined, 1], "fps": [joined, 2]}
    title = {"title": "Get Video Components"}
    graph[joined] = {"inputs": {"video": [sampler, 3]}, "class_type": "GetVideoComponents", "_meta": title}
    return graph


def with_a_clip(graph: dict) -> dict:
    """A graph of one picture with the start and the end of a clip in its place."""
    keyframes = only(graph, "PusaKeyframes")
    picture = links(graph[keyframes])["images.image0"]
    drop(graph, keyframes, "images.image0")
    shared = {name: graph[keyframes]["inputs"][name] for name in ("vae", "latent", "fit", "renoise", "renoise_steps")}
    clip, frames = picture, new_id(graph)
    graph[clip] = {"inputs": {"file": "", "video-preview": ""}, "class_type": "LoadVideo", "_meta": {"title": "Clip"}}
    title = {"title": "Get Video Components"}
    graph[frames] = {"inputs": {"video": [clip, 0]}, "class_type": "GetVideoComponents", "_meta": title}
    start, end = new_id(graph), keyframes
    for id, place in ((start, "start"), (end, "end")):
        inputs = shared | {"take": place, "place": place, "frames": MOCHI_FRAMES[place], "noise": "0.3", "video": [frames, 0]}
        title = {"title": f"Video Frames (Pusa), {place}"}
        graph[id] = {"inputs": inputs, "class_type": "PusaVideoFrames", "_meta": title}
    graph[end]["inputs"]["condition"] = [start, 0]
    return graph


def distil(graph: dict, lora_name: str, steps: int, cfg: float) -> dict:
    """A graph with another distillation LoRA, or with none, and the steps and guidance that belong to it."""
    values = {"distill_lora_name": lora_name, "distill_lora_name_high": lora_name, "distill_lora_name_low": lora_name}
    values |= {"steps": steps, "cfg": cfg}

    def changed(inputs: dict) -> dict:
        return inputs | {name: value for name, value in values.items() if name in inputs}

    return {id: node | {"inputs": changed(node["inputs"])} for id, node in graph.items()}


def read_graph(path: Path) -> dict:
    """A graph in API format.

    Raises:
        GraphError: the file is missing or holds something else.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise GraphError(f"{path} is not JSON: {error}") from None
    if isinstance(graph, dict) and "nodes" in graph:
        raise GraphError(f"{path} is a workflow for the page. Open it there and use Export (API).")
    nodes = graph.values() if isinstance(graph, dict) else [None]
    if not all(isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node for node in nodes):
        raise GraphError(f"{path} is not a graph in API format: each node has `class_type` and `inputs` there")
    return graph
