"""Graphs for Mochi 1 with Pusa V0.5, with the settings of its authors' examples."""

from . import notes, parts
from .graph import Graph
from .wan import AFTER, BEFORE, PICTURES, PROMPT

SIZE = (848, 480, 163)
RATE, STEPS, CFG, SCHEDULER = 30.0, 30, 4.5, "linear_quadratic"
OVERLAP = 19  # four latent frames
# 10 latent frames at a time, of which 4 fade into the next 10, so that four tiles make the 28 of a clip.
TILES = {"tile_size": 256, "overlap": 64, "temporal_size": 60, "temporal_overlap": 24}
KEYFRAMES = {
    "i2v": ([0], "0", "0.4"),
    "start_end": ([0, 2], "0, last", "0.3, 0.7"),
    "keyframes": ([0, 1, 2], "0, 78, last", "0.3, 0.7, 0.7"),
}
TASKS = ("t2v", *KEYFRAMES, "extension", "transition")


def mochi_graphs() -> list[Graph]:
    """All of them."""
    return [mochi_graph(task) for task in TASKS]


def mochi_graph(task: str) -> Graph:
    """The graph of a task."""
    graph = Graph(f"mochi_{task}")
    models = parts.one_model(graph, "mochi")
    parts.vae(graph, parts.file_name("mochi", "vae"))
    words = parts.prompts(graph, PROMPT, "", "mochi", "mochi")
    if task in ("extension", "transition"):
        joined(graph, task, models, words)
    else:
        sampled(graph, task, models, words)
    graph.note = notes.mochi_note(graph, task)
    return graph


def sampled(graph: Graph, task: str, models: dict, words: dict) -> None:
    """A clip of 163 frames, from words or with pictures given."""
    latent = parts.empty(graph, *SIZE, "EmptyMochiLatentVideo")
    changes = {"scheduler": SCHEDULER}
    if task in KEYFRAMES:
        numbers, positions, noise = KEYFRAMES[task]
        changes["condition"] = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, noise)
        schedule = {"scheduler": SCHEDULER, "steps": STEPS, "denoise": 1.0}
        graph.add("levels", "BasicScheduler", "Given frames", 1, **models, **schedule)
        parts.plot(graph, changes["condition"], STEPS, 2, sigmas=("levels", 0))
    parts.save_frames(graph, parts.sample(graph, models, words, latent, STEPS, CFG, tiles=TILES, **changes), fps=RATE)


def joined(graph: Graph, task: str, models: dict, words: dict) -> None:
    """A clip made longer, or two joined by new frames."""
    settings = {"overlap": OVERLAP, "noise": "0.1, 0.3, 0.3, 0.3", "scheduler": SCHEDULER, "fps": RATE, "resample": "blend"}
    settings["video"] = parts.clip(graph, "before", BEFORE, "Clip" if task == "extension" else "First clip")
    if task == "extension":
        words = {"positive.prompt0": words["positive"], "negative": words["negative"]}
        node = parts.extend(graph, models, words, STEPS, CFG, new_frames=SIZE[2] - OVERLAP, **settings)
    else:
        settings["video_after"] = parts.clip(graph, "after", AFTER, "Second clip")
        node = parts.transition(graph, models, words, STEPS, CFG, new_frames=SIZE[2] - 2 * OVERLAP, **settings)
    parts.save_video(graph, (node, 3))
