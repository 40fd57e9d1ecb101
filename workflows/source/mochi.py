"""Graphs for Mochi 1 with Pusa V0.5, with the settings of its authors' examples."""

from . import parts
from .graph import Graph
from .wan import AFTER, BEFORE, PICTURES, PROMPT
from .words import notes

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
# The words of the notes.
ABOUT = (
    "30 steps at cfg 4.5 with the scheduler linear_quadratic, 848 x 480, 163 frames at 30 per second: the settings of the examples "
    "of Pusa V0.5. It is a whole model, so there is no LoRA; `shift` does nothing with this scheduler. Leave the negative prompt "
    "empty, as the authors do."
)
IN_TILES = (
    "**VAE Decode (Tiled)** takes 60 frames of 256 x 256 pixels at a time: ComfyUI reckons with 8 GB for that, and with 137 GB for "
    "the whole clip at once."
)
OF_CLIPS = (
    "Clips should be at 30 frames per second. Those shown have 16, so `resample` is blend: it takes them to 30 and back. The node "
    "decodes by itself, in tiles where memory is short; for these ComfyUI reckons with 22 GB at 163 frames, and less at fewer."
)
OF_LENGTH = "`length` in **Size and length**: 163 frames are 5.4 seconds; always 6n + 1. Fewer need less memory."
OF_TILES = "`tile_size` and `temporal_size` in **VAE Decode (Tiled)**: smaller needs less memory, larger shows fewer seams."
OF_NOISE = "`noise` in **Keyframes (Pusa)**: one value for each picture; 0 keeps it exactly."
OF_OVERLAP = "`overlap`: the frames that the model is given, 6n + 1. Overlap and new frames should make 163"
WORTH = {
    "t2v": (notes.WORTH["t2v"][0], OF_LENGTH, OF_TILES),
    "i2v": (f"{notes.GIVEN_EXACTLY}; the authors' example has 0.4.", OF_LENGTH, OF_TILES),
    "start_end": (notes.WORTH["start_end"][0], OF_LENGTH, OF_TILES),
    "keyframes": (notes.KEYFRAMES, OF_NOISE, OF_TILES),
    "extension": (
        notes.WORTH["extension"][0],
        f"{OF_OVERLAP}: 19 + 144.",
        "`noise`: from the outer frame to the one next to the new frames; `0.1, 0.2, 0.3, 0.4` is the authors' other list.",
    ),
    "transition": (
        "`new_frames` in **Transition (Pusa)**: how long the way is, 6n - 1.",
        f"{OF_OVERLAP}: 19 + 125 + 19.",
        "`noise`: from the outer frame of either clip to the one next to the new frames; 0 keeps them all exactly.",
    ),
}


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
    graph.note = note(graph, task)
    return graph


def sampled(graph: Graph, task: str, models: dict, words: dict) -> None:
    """A clip of 163 frames, from words or with pictures given."""
    latent = parts.empty(graph, *SIZE, "EmptyMochiLatentVideo")
    changes = {"scheduler": SCHEDULER}
    if task in KEYFRAMES:
        numbers, positions, noise = KEYFRAMES[task]
        changes["condition"] = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, noise)
        schedule = {"scheduler": SCHEDULER, "steps": STEPS, "denoise": 1.0}
        graph.add("levels", "BasicScheduler", "Given frames", 2, **models, **schedule)
        parts.plot(graph, changes["condition"], STEPS, sigmas=("levels", 0))
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


def note(graph: Graph, task: str) -> str:
    """The note of a graph for Mochi."""
    what = [notes.WHAT[task].replace("13 frames lead to 68", "19 frames lead to 144"), ABOUT]
    what += [IN_TILES if "frames" in graph.nodes else OF_CLIPS, *([notes.SEEN] if "condition" in graph.nodes else [])]
    given = "" if task == "t2v" else f"Choose your own in the green group. Those shown are in {notes.INPUTS}."
    return notes.compose(f"Mochi 1 with Pusa V0.5: {notes.NAMES[task]}", what, notes.file_list(graph), WORTH[task], given)
