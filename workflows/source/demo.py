"""The graphs of the embedded model, one for each task. They run on any processor, in seconds."""

from . import parts
from .graph import Graph
from .words import notes

SIDE, LENGTH, STEPS, CFG, LARGER = 64, 33, 10, 2.0, 4.0
HOPS, HOP_STEPS, HOP_FRAMES, HOP_NOISE = 10, 4, 20, "0.0..0.2"
HOP_PROMPTS = 8  # the last serves three hops: the page adds sockets, and with one of number 10 leaves the others out of order
WAYS = ("right", "down", "left", "up")  # that the thing goes, hop by hop
# Pictures with their positions, and clips, by task; the scene of each is in training/nano/examples/scenes.py.
KEYFRAMES = {
    "i2v": (["nano_00.png"], "0"),
    "start_end": (["nano_start.png", "nano_end.png"], "0, last"),
    "keyframes": (["nano_key_1.png", "nano_key_2.png", "nano_key_3.png"], "0, 16, last"),
}
CLIPS = {
    "completion": ("nano_middle_begins.mp4", "nano_middle_ends.mp4"),
    "extend": ("nano_goes_on.mp4",),
    "extend_ten": ("nano_begins.mp4",),
    "prepend": ("nano_came_from.mp4",),
    "transition": ("nano_from.mp4", "nano_to.mp4"),
    "loop": ("nano_round.mp4",),
}
OWN = ("t2v", "start_end", "keyframes", "completion", "extend", "prepend", "transition", "loop")  # tasks with words of their own
PICTURES = ["nano_00.png", "nano_16.png", "nano_32.png"]  # of one scene
TIMELINE = "\n".join(f"{place}: {file}, noise 0" for place, file in zip(("0", "16", "last"), PICTURES))
TITLES = {"positive": "Prompt", "negative": "Negative prompt"}
SCHEDULES = {"hold": {"kind": "hold"}, "forcing": {"kind": "delay"}}
ROLLING = {"length": 97, "window": 9, "steps": STEPS, "block": 1, "cfg": CFG, "shift": 5.0}
JOINED = ("extend", "extend_ten", "prepend", "transition", "loop")
# What a graph does, and the setting that is most worth changing.
WORDS = {
    "t2v": ("A video from words alone, which are stored in a file.", "`seed` in **KSampler (Pusa)**"),
    "i2v": ("A picture comes alive.", "`noise` in **Keyframes (Pusa)**: 0 keeps the picture exactly"),
    "start_end": ("From a first picture to a last one.", "`noise` in **Keyframes (Pusa)**: 0 keeps the pictures exactly"),
    "keyframes": ("Through three pictures.", "`positions` in **Keyframes (Pusa)**: `0, 16, last`"),
    "timeline": (
        "Through the pictures and clips of a film strip; its text is the whole timeline.",
        "The strip in **Timeline (Pusa)**: drop pictures and clips onto it, drag them; a knob is the noise, Delete takes one away",
    ),
    "completion": ("The start and the end of a clip are given; what lies between is drawn.", "`frames` in **Video Frames (Pusa)**"),
    "extend": ("13 frames of a clip lead to 20 new ones.", "`overlap` in **Extend Video (Pusa)**"),
    "extend_ten": (
        "A clip goes on for ten hops of 20 frames, with a prompt for each hop; the last prompt serves three.",
        "the prompts of the hops",
    ),
    "prepend": ("What came before 9 frames of a clip: 24 new ones.", "`overlap` in **Extend Video (Pusa)**"),
    "transition": ("11 new frames lead from the end of one clip to the start of another.", "`new_frames` in **Transition (Pusa)**"),
    "hold": (
        "A picture given with much noise waits at its level while the rest comes down to it, and then moves with the rest.",
        "`noise` in **Keyframes (Pusa)**: lower waits longer and changes less",
    ),
    "forcing": (
        "Words alone, and the latent frames become clean one after the other, as in diffusion forcing: a staircase.",
        "`lag` in **Schedule (Pusa)**: 0 is all frames at once, 10 is one after the other",
    ),
    "rolling": (
        "97 frames through a window of 33: each frame leaves it when it is clean.",
        "`length` in **Rolling Video (Pusa)**: 4n + 1 frames",
    ),
    "loop": (
        "15 new frames lead from the end of a clip back to its start, and complete the round.",
        "`new_frames` in **Transition (Pusa)**",
    ),
}


def demo_graphs() -> list[Graph]:
    """All of them."""
    return [demo_graph(task) for task in WORDS]


def demo_graph(task: str) -> Graph:
    """The graph of a task."""
    graph = Graph(f"demo_{task}")
    models, words = model(graph), prompts(graph, f"nano_{task if task in OWN else 'positive'}")
    make = joined if task in JOINED else rolled if task == "rolling" else sampled
    parts.save_frames(graph, make(graph, task, models, words), LARGER)
    graph.note = notes.demo_note("storyboard" if task == "timeline" else task.replace("_", " "), *WORDS[task])
    return graph


def model(graph: Graph) -> dict:
    """The embedded model with its LoRA, and its VAE."""
    graph.add(
        "model", "PusaModelLoader", "Model", unet_name="pusa_nano_wan.safetensors", weight_dtype="default",
        lora_name="pusa_nano_lora.safetensors", strength=1.4, distill_lora_name=parts.NO_LORA, distill_strength=1.0,
    )  # fmt: skip
    parts.vae(graph, "pusa_nano_vae.safetensors")
    return {"model": ("model", 0)}


def prompts(graph: Graph, positive: str = "nano_positive") -> dict:
    """Both prompts; ``positive`` is the file of the first."""
    files = {"positive": positive, "negative": "nano_negative"}
    return {key: stored(graph, key, files[key], title) for key, title in TITLES.items()}


def stored(graph: Graph, key: str, file: str, title: str, column: int = 0) -> tuple:
    """A stored prompt."""
    return graph.add(key, "PusaLoadPrompt", "Prompt", column, title, prompt_name=f"{file}.safetensors"), 0


def sampled(graph: Graph, task: str, models: dict, words: dict) -> tuple:
    """One window of 33 frames."""
    latent = parts.empty(graph, SIDE, SIDE, LENGTH)
    condition = {}
    if task in KEYFRAMES:
        condition["condition"] = parts.keyframes(graph, *KEYFRAMES[task], "0")
        parts.plot(graph, condition["condition"], STEPS)
    elif task == "timeline":
        condition["condition"] = parts.timeline(graph, TIMELINE)
        parts.plot(graph, condition["condition"], STEPS, "Storyboard")
    elif task in SCHEDULES:
        pictures = KEYFRAMES["i2v"][0] if task == "hold" else []
        condition["condition"] = parts.scheduled(graph, STEPS, SCHEDULES[task], pictures)
    elif task == "completion":
        begins, ends = CLIPS[task]
        clips = (
            parts.clip(graph, "before", begins, "Clip that begins", SIDE),
            parts.clip(graph, "after", ends, "Clip that ends", SIDE),
        )
        condition["condition"] = parts.completion(graph, clips, (9, 9), "0", 2)
        parts.plot(graph, condition["condition"], STEPS)
    return parts.sample(graph, models, words, latent, STEPS, CFG, **condition)


def rolled(graph: Graph, task: str, models: dict, words: dict) -> tuple:
    """A clip longer than the window."""
    latent = parts.empty(graph, SIDE, SIDE, LENGTH)
    graph.nodes["empty"].title = "Size"
    given = {**models, "positive.prompt0": words["positive"], "negative": words["negative"], "latent": latent}
    samples = graph.add("rolling", "PusaRollingVideo", "Sample", **given, seed=0, **ROLLING), 0
    return graph.add("frames", "VAEDecode", "Video", samples=samples, vae=("vae", 0)), 0


def joined(graph: Graph, task: str, models: dict, words: dict) -> tuple:
    """A clip made longer, in one hop or ten, or joined to another or to its own start."""
    first, *second = CLIPS[task]
    if task in ("transition", "loop"):
        clips = {"video": parts.clip(graph, "before", first, "First clip" if second else "Clip", SIDE)}
        if second:
            clips["video_after"] = parts.clip(graph, "after", second[0], "Second clip", SIDE)
        new = 11 if task == "transition" else 15
        return parts.transition(graph, models, words, STEPS, CFG, overlap=9, new_frames=new, **clips), 0
    overlap, direction = (9, "backwards") if task == "prepend" else (13, "forwards")
    hops, steps = (HOPS, HOP_STEPS) if task == "extend_ten" else (1, STEPS)
    prompts = {"positive.prompt0": words["positive"]}
    for hop in range(1, min(hops, HOP_PROMPTS)):
        key = stored(graph, f"prompt{hop}", f"nano_{WAYS[hop % 4]}", f"Prompt of hop {hop + 1}")
        prompts[f"positive.prompt{hop}"] = key
    given = prompts | {"negative": words["negative"], "video": parts.clip(graph, "before", first, "Clip", SIDE)}
    new, noise = (HOP_FRAMES, HOP_NOISE) if hops > 1 else (LENGTH - overlap, "0")
    window = {"overlap": overlap, "new_frames": new, "hops": hops, "noise": noise}
    return parts.extend(graph, models, given, steps, CFG, direction=direction, **window), 0
