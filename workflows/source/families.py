"""Graphs for the relatives of Wan: Wan2.2 5B, Wan2.1 VACE and SkyReels-V2 Diffusion Forcing."""

from . import notes, parts
from .drawing.pictures import FINE_CLIP, FINE_RATE, FINE_SIZE
from .graph import Graph
from .wan import KEYFRAMES, NEGATIVE, PICTURES, PROMPT, SIZE

STEPS, CFG, VACE_CFG, RATE = 30, 5.0, 3.0, 24.0
LENGTH_5B, OVERLAP = 121, 13
SKYREELS = (960, 544, 97)
CONTROL = "harbour.mp4"


def family_graphs() -> list[Graph]:
    """All of them."""
    return [wan22_5b_i2v(), wan22_5b_extension(), wan21_vace_keyframes(), skyreels_v2_df_i2v()]


def wan22_5b_i2v() -> Graph:
    """A picture comes alive, at the size and rate of the 5B model."""
    graph = Graph("wan22_5b_i2v")
    models, words = wan22_5b(graph)
    size = {"width": FINE_SIZE[0], "height": FINE_SIZE[1], "length": LENGTH_5B, "batch_size": 1}
    graph.add("empty", "Wan22ImageToVideoLatent", "Size and length", title="Size and length", vae=("vae", 0), **size)
    from_picture(graph, models, words)
    graph.note = notes.family_note(graph, "i2v", notes.WAN22_5B_I2V)
    return graph


def wan22_5b_extension() -> Graph:
    """A clip at 24 frames per second goes on."""
    graph = Graph("wan22_5b_extension")
    models, words = wan22_5b(graph)
    given = {"positive.prompt0": words["positive"], "negative": words["negative"]}
    given["video"] = parts.clip(graph, "before", FINE_CLIP, "Clip")
    window = {"overlap": OVERLAP, "new_frames": LENGTH_5B - OVERLAP, "noise": "0", "fps": float(FINE_RATE)}
    parts.save_video(graph, (parts.extend(graph, models, given, STEPS, CFG, **window), 3))
    graph.note = notes.family_note(graph, "extension", notes.WAN22_5B_EXTENSION)
    return graph


def wan22_5b(graph: Graph) -> tuple[dict, dict]:
    """Wan2.2 5B with its VAE, and both prompts."""
    models = parts.one_model(graph, "wan22_5b")
    parts.vae(graph, parts.file_name("wan22_5b", "vae"))
    return models, parts.prompts(graph, PROMPT, NEGATIVE)


def wan21_vace_keyframes() -> Graph:
    """Three pictures on the timeline, and the edges of a clip that say what moves."""
    graph = Graph("wan21_vace_keyframes")
    models = parts.one_model(graph, "vace")
    parts.vae(graph, parts.file_name("vace", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    graph.add("clip to follow", "LoadVideo", "Control video", title="Clip to follow", file=CONTROL)
    graph.add("parts", "GetVideoComponents", "Control video", 1, video=("clip to follow", 0))
    graph.add("edges", "Canny", "Control video", 1, image=("parts", 0), low_threshold=0.1, high_threshold=0.3)
    size = dict(zip(("width", "height", "length"), SIZE), batch_size=1)
    given = {**words, "vae": ("vae", 0), "control_video": ("edges", 0), **size, "strength": 1.0}
    graph.add("control", "WanVaceToVideo", "Control video", 2, title="Size, length and control", **given)
    latent, trim = ("control", 2), ("control", 3)
    numbers, positions, noise = KEYFRAMES["keyframes"]
    condition = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, noise, latent)
    parts.plot(graph, condition, STEPS, 1)
    controlled = {"positive": ("control", 0), "negative": ("control", 1)}
    parts.save_frames(graph, parts.sample(graph, models, controlled, latent, STEPS, VACE_CFG, trim, condition=condition))
    graph.note = notes.family_note(graph, "keyframes", notes.VACE)
    return graph


def skyreels_v2_df_i2v() -> Graph:
    """A picture comes alive, on a model that was trained with a level for every frame."""
    graph = Graph("skyreels_v2_df_i2v")
    models = parts.one_model(graph, "skyreels", fps=f"{RATE:g}")
    graph.nodes["model"].wider = 110  # for the name of the file
    parts.vae(graph, parts.file_name("skyreels", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    parts.empty(graph, *SKYREELS)
    from_picture(graph, models, words)
    graph.note = notes.family_note(graph, "i2v", notes.SKYREELS)
    return graph


def from_picture(graph: Graph, models: dict, words: dict) -> None:
    """A clip at 24 frames per second whose first frame is a picture, kept exactly."""
    condition = parts.keyframes(graph, PICTURES[:1], "0", "0")
    parts.plot(graph, condition, STEPS, 1)
    frames = parts.sample(graph, models, words, ("empty", 0), STEPS, CFG, condition=condition)
    parts.save_frames(graph, frames, fps=RATE)
