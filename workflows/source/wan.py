"""The graphs for Wan2.1 and Wan2.2, with the settings that the Pusa authors recommend."""

from . import parts
from .graph import Graph
from .words import notes

SIZE = (832, 480, 81)
PROMPT = (
    "A small boat with a red sail glides from left to right across a calm bay. The sun sets behind low hills, the sky turns from "
    "orange to deep blue, stars come out, and the lighthouse and the windows of three houses on the headland light up one after "
    "the other. Flat illustration with soft colours, gentle ripples, the camera does not move."
)
NEGATIVE = (
    "blurred, overexposed, washed out, low quality, compression artefacts, flicker, cuts, camera shake, text, "
    "watermark, still picture"
)
PICTURES = ["harbour_start.jpg", "harbour_middle.jpg", "harbour_end.jpg"]
BEFORE, AFTER = "harbour_before.mp4", "harbour_after.mp4"
KEYFRAMES = {
    "i2v": ([0], "0", "0.2"),
    "start_end": ([0, 2], "0, last", "0.2, 0.5"),
    "keyframes": ([0, 1, 2], "0, 40, last", "0.2, 0.4, 0.6"),
}
TIMELINE = "0: harbour_start.jpg, noise 0.2\n40: harbour_middle.jpg, noise 0.4\nlast: harbour_end.jpg, noise 0.6"
SCHEDULES = {"hold": {"kind": "hold"}, "forcing": {"kind": "delay", "block": 3}}
ROLLING = {"length": 161, "window": 21, "block": 3, "shift": 5.0}
TASKS = ("t2v", *KEYFRAMES, "completion", "extension", "transition")
# Of each set: those of plain Wan2.2 are the ones with official settings of their own.
TASKS_OF = {
    "wan22_lightx2v": (*TASKS, "timeline"),
    "wan21": (*TASKS, *SCHEDULES, "rolling"),
    "wan22": ("t2v", "i2v", "start_end", "extension"),
}
# Names of the model, files to download, steps and cfg of each set.
SETS = {
    "wan22_lightx2v": ("Wan2.2 with LightX2V", 4, 1.0),
    "wan21": ("Wan2.1", 30, 3.0),
    "wan22": ("Wan2.2", 30, 3.0),
}


def wan_graphs() -> list[Graph]:
    """All of them."""
    return [wan_graph(family, task) for family, tasks in TASKS_OF.items() for task in tasks]


def wan_graph(family: str, task: str) -> Graph:
    """The graph of a task for a set of models."""
    title, steps, cfg = SETS[family]
    graph = Graph(f"{family}_{task}")
    three_on_wan21 = family == "wan21" and task == "keyframes"
    if three_on_wan21:
        steps = 10  # as in the official example, together with the strength
    if family == "wan21":
        models = parts.one_model(graph, "wan21", 1.5 if three_on_wan21 else 1.4)
    else:
        models = parts.wan22(graph, distilled="lightx2v" in family)
    parts.vae(graph, parts.file_name("wan21", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    if task in ("extension", "transition"):
        joined(graph, task, models, words, steps, cfg, family)
    elif task == "rolling":
        rolled(graph, models, words, steps, cfg)
    else:
        sampled(graph, task, models, words, steps, cfg)
    graph.note = notes.wan_note(graph, task, title, steps, cfg)
    return graph


def sampled(graph: Graph, task: str, models: dict, words: dict, steps: int, cfg: float) -> None:
    """A clip of 81 frames, from words or with frames given."""
    latent = parts.empty(graph, *SIZE)
    condition = {}
    if task in KEYFRAMES:
        numbers, positions, noise = KEYFRAMES[task]
        condition["condition"] = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, noise)
        parts.plot(graph, condition["condition"], steps)
    elif task == "timeline":
        condition["condition"] = parts.timeline(graph, TIMELINE)
        parts.plot(graph, condition["condition"], steps, "Storyboard")
    elif task in SCHEDULES:
        pictures = PICTURES[:1] if task == "hold" else []
        condition["condition"] = parts.scheduled(graph, steps, SCHEDULES[task], pictures)
    elif task == "completion":
        clips = []
        for key, file, title in (("before", BEFORE, "Clip that begins"), ("after", AFTER, "Clip that ends")):
            video = parts.clip(graph, key, file, title)
            clips.append((graph.add(f"{key} parts", "GetVideoComponents", "Given frames", 1, video=video), 0))
        condition["condition"] = parts.completion(graph, tuple(clips), (1, 5), "0.3", 2)
        parts.plot(graph, condition["condition"], steps)
    parts.save_frames(graph, parts.sample(graph, models, words, latent, steps, cfg, **condition))


def rolled(graph: Graph, models: dict, words: dict, steps: int, cfg: float) -> None:
    """A clip twice as long as those of the training, through one window of that length."""
    given = {"positive.prompt0": words["positive"], "negative": words["negative"], "latent": parts.empty(graph, *SIZE)}
    graph.nodes["empty"].title = "Size"
    samples = graph.add("rolling", "PusaRollingVideo", "Sample", **models, **given, seed=0, steps=steps, cfg=cfg, **ROLLING), 0
    parts.save_frames(graph, (graph.add("frames", "VAEDecode", "Video", samples=samples, vae=("vae", 0)), 0))


def joined(graph: Graph, task: str, models: dict, words: dict, steps: int, cfg: float, family: str) -> None:
    """A clip made longer, or two joined by new frames."""
    if task == "extension":
        video = parts.clip(graph, "before", BEFORE, "Clip")
        words = {"positive.prompt0": words["positive"], "negative": words["negative"]}
        noise = "0.0, 0.3, 0.4, 0.5" if family == "wan21" else "0.2, 0.4, 0.4, 0.4"
        node = parts.extend(graph, models, words, steps, cfg, video=video, noise=noise)
    else:
        clips = {"video": parts.clip(graph, "before", BEFORE, "First clip")}
        clips["video_after"] = parts.clip(graph, "after", AFTER, "Second clip")
        node = parts.transition(graph, models, words, steps, cfg, **clips)
    parts.save_video(graph, (node, 3))
