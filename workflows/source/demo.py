"""The graphs of the embedded model, one for each task. They run on any processor, in seconds."""

from . import notes, parts
from .graph import Graph

SIDE, LENGTH, STEPS, CFG, LARGER = 64, 33, 10, 3.0, 4.0
HOPS, HOP_STEPS, HOP_FRAMES, HOP_NOISE = 10, 4, 20, "0.0..0.2"
WAYS = ("right", "down", "left", "up")  # that the thing goes, hop by hop
PICTURES = ["nano_00.png", "nano_16.png", "nano_32.png"]
KEYFRAMES = {"i2v": ([0], "0"), "start_end": ([0, 2], "0, last"), "keyframes": ([0, 1, 2], "0, 16, last")}
TIMELINE = "0: nano_00.png, noise 0\n16: nano_16.png, noise 0\nlast: nano_32.png, noise 0"
BEGINS, ENDS = "nano_begins.mp4", "nano_ends.mp4"
TITLES = {"positive": "Prompt", "negative": "Negative prompt"}
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
    "extend_ten": ("A clip goes on for ten hops of 20 frames, with a prompt for each hop.", "the prompts of the hops"),
    "prepend": ("What came before 9 frames of a clip: 24 new ones.", "`overlap` in **Extend Video (Pusa)**"),
    "transition": ("11 new frames lead from the end of one clip to the start of another.", "`new_frames` in **Transition (Pusa)**"),
    "loop": ("15 new frames lead from the end of a clip back to its start.", "`new_frames` in **Transition (Pusa)**"),
}


def demo_graphs() -> list[Graph]:
    """All of them."""
    return [demo_graph(task) for task in WORDS]


def demo_graph(task: str) -> Graph:
    """The graph of a task."""
    graph = Graph(f"demo_{task}")
    graph.add(
        "model", "PusaModelLoader", "Model", unet_name="pusa_nano_wan.safetensors", weight_dtype="default",
        lora_name="pusa_nano_lora.safetensors", strength=1.4, distill_lora_name=parts.NO_LORA, distill_strength=1.0,
    )  # fmt: skip
    models = {"model": ("model", 0)}
    parts.vae(graph, "pusa_nano_vae.safetensors")
    words = {key: stored(graph, key, f"nano_{key}", title) for key, title in TITLES.items()}
    make = joined if task in JOINED else sampled
    parts.save_frames(graph, make(graph, task, models, words), LARGER)
    graph.note = notes.demo_note("storyboard" if task == "timeline" else task.replace("_", " "), *WORDS[task])
    return graph


def stored(graph: Graph, key: str, file: str, title: str, column: int = 0) -> tuple:
    """A stored prompt."""
    return graph.add(key, "PusaLoadPrompt", "Prompt", column, title, prompt_name=f"{file}.safetensors"), 0


def sampled(graph: Graph, task: str, models: dict, words: dict) -> tuple:
    """One window of 33 frames."""
    latent = parts.empty(graph, SIDE, SIDE, LENGTH)
    condition = {}
    if task in KEYFRAMES:
        numbers, positions = KEYFRAMES[task]
        condition["condition"] = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, "0")
        parts.plot(graph, condition["condition"], STEPS, 1)
    elif task == "timeline":
        condition["condition"] = parts.timeline(graph, TIMELINE)
        parts.plot(graph, condition["condition"], STEPS, 1, "Storyboard")
    elif task == "completion":
        clips = (
            parts.clip(graph, "before", BEGINS, "Clip that begins", SIDE),
            parts.clip(graph, "after", ENDS, "Clip that ends", SIDE),
        )
        condition["condition"] = parts.completion(graph, clips, (9, 9), "0", 2)
        parts.plot(graph, condition["condition"], STEPS, 3)
    return parts.sample(graph, models, words, latent, STEPS, CFG, **condition)


def joined(graph: Graph, task: str, models: dict, words: dict) -> tuple:
    """A clip made longer, in one hop or ten, or joined to another or to its own start."""
    if task in ("transition", "loop"):
        clips = {"video": parts.clip(graph, "before", BEGINS, "First clip" if task == "transition" else "Clip", SIDE)}
        if task == "transition":
            clips["video_after"] = parts.clip(graph, "after", ENDS, "Second clip", SIDE)
        new = 11 if task == "transition" else 15
        return parts.transition(graph, models, words, STEPS, CFG, overlap=9, new_frames=new, **clips), 0
    file, overlap, direction = (ENDS, 9, "backwards") if task == "prepend" else (BEGINS, 13, "forwards")
    hops, steps = (HOPS, HOP_STEPS) if task == "extend_ten" else (1, STEPS)
    prompts = {"positive.prompt0": words["positive"]}
    for hop in range(1, hops):
        key = stored(graph, f"prompt{hop}", f"nano_{WAYS[hop % 4]}", f"Prompt of hop {hop + 1}", hop // 6)
        prompts[f"positive.prompt{hop}"] = key
    given = prompts | {"negative": words["negative"], "video": parts.clip(graph, "before", file, "Clip", SIDE)}
    new, noise = (HOP_FRAMES, HOP_NOISE) if hops > 1 else (LENGTH - overlap, "0")
    window = {"overlap": overlap, "new_frames": new, "hops": hops, "noise": noise}
    return parts.extend(graph, models, given, steps, CFG, direction=direction, **window), 0
