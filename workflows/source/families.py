"""Graphs for the relatives of Wan: Wan2.2 5B, Wan2.1 VACE and SkyReels-V2 Diffusion Forcing."""

from . import parts
from .drawing.pictures import FINE_CLIP, FINE_RATE, FINE_SIZE
from .graph import WORDS_ALONE, Graph
from .wan import KEYFRAMES, NEGATIVE, PICTURES, PROMPT, SIZE
from .words import notes

STEPS, CFG, VACE_CFG, RATE = 30, 5.0, 3.0, 24.0
LENGTH_5B, OVERLAP = 121, 13
SKYREELS = (960, 544, 97)
DELAY = {"kind": "delay", "lag": 5, "block": 5, "order": "forward", "steps": STEPS, "shift": 5.0}
ROLLING = {"seed": 0, "length": 193, "window": 25, "steps": STEPS, "block": 1, "cfg": 6.0, "shift": 8.0}
BAY = "Flat illustration with soft colours, gentle ripples, the camera does not move."
PARTS = (
    f"A small boat with a red sail glides from left to right across a calm bay in bright daylight. {BAY}",
    f"A small boat with a red sail glides across a calm bay. The sun sets behind low hills, the sky turns orange. {BAY}",
    f"A small boat with a red sail glides across a calm bay at night, under stars. A lighthouse on the headland shines. {BAY}",
)
CONTROL = "harbour.mp4"


def family_graphs() -> list[Graph]:
    """All of them."""
    return [wan22_5b_i2v(), wan22_5b_extension(), wan21_vace_keyframes(), skyreels_v2_df_i2v(), *skyreels_schedules()]


def wan22_5b_i2v() -> Graph:
    """A picture comes alive, at the size and rate of the 5B model."""
    graph = Graph("wan22_5b_i2v")
    models, words = wan22_5b(graph)
    size = {"width": FINE_SIZE[0], "height": FINE_SIZE[1], "length": LENGTH_5B, "batch_size": 1}
    graph.add("empty", "Wan22ImageToVideoLatent", "Size and length", title="Size and length", vae=("vae", 0), **size)
    graph.rows = (WORDS_ALONE, ("Given frames",))
    graph.narrow(100, "model", "clip", "vae")
    graph.narrow(60, "empty")
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
    """Two pictures on the timeline, and the edges of a clip that say what moves."""
    graph = Graph("wan21_vace_keyframes")
    models = parts.one_model(graph, "vace")
    parts.vae(graph, parts.file_name("vace", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    graph.note_below = True
    graph.narrow(20, "model", "clip", "vae")
    graph.narrow(40, "positive", "negative")
    graph.add("clip to follow", "LoadVideo", "Control video", title="Clip to follow", file=CONTROL)
    graph.add("parts", "GetVideoComponents", "Control video", video=("clip to follow", 0))
    graph.add("edges", "Canny", "Control video", image=("parts", 0), low_threshold=0.1, high_threshold=0.3)
    size = dict(zip(("width", "height", "length"), SIZE), batch_size=1)
    given = {**words, "vae": ("vae", 0), "control_video": ("edges", 0), **size, "strength": 1.0}
    graph.add("control", "WanVaceToVideo", "Control", title="Size, length and control", **given)
    latent, trim = ("control", 2), ("control", 3)
    numbers, positions, noise = KEYFRAMES["start_end"]
    condition = parts.keyframes(graph, [PICTURES[number] for number in numbers], positions, noise, latent)
    parts.plot(graph, condition, STEPS)
    graph.narrow(80, "control")
    graph.narrow(40, "condition")
    controlled = {"positive": ("control", 0), "negative": ("control", 1)}
    parts.save_frames(graph, parts.sample(graph, models, controlled, latent, STEPS, VACE_CFG, trim, condition=condition))
    graph.note = notes.family_note(graph, "keyframes", notes.VACE)
    return graph


def skyreels_v2_df_i2v() -> Graph:
    """A picture comes alive, on a model that was trained with a level for every frame."""
    graph = Graph("skyreels_v2_df_i2v")
    models = skyreels(graph)
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    parts.empty(graph, *SKYREELS)
    from_picture(graph, models, words)
    graph.note = notes.family_note(graph, "i2v", notes.SKYREELS)
    return graph


def skyreels_schedules() -> list[Graph]:
    """Those in which frames become clean one after the other."""
    return [skyreels_v2_df_async(), skyreels_v2_df_rolling()]


def skyreels_v2_df_async() -> Graph:
    """A picture comes alive, block after block."""
    graph = Graph("skyreels_v2_df_async")
    models = skyreels(graph)
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    latent = parts.empty(graph, *SKYREELS)
    given = parts.keyframes(graph, PICTURES[:1], "0", "0")
    condition = graph.add("schedule", "PusaSchedule", "Given frames", 2, latent=latent, condition=given, **DELAY), 0
    parts.plot(graph, condition, STEPS)
    parts.save_frames(graph, parts.sample(graph, models, words, latent, STEPS, CFG, condition=condition), fps=RATE)
    graph.note = notes.family_note(graph, "async", notes.SKYREELS_ASYNC)
    return graph


def skyreels_v2_df_rolling() -> Graph:
    """A clip twice as long as the model's, with three prompts, through one window."""
    graph = Graph("skyreels_v2_df_rolling")
    models = skyreels(graph)
    words = parts.prompts(graph, PARTS[0], NEGATIVE)
    prompts = {"positive.prompt0": words["positive"]}
    for number, text in enumerate(PARTS[1:], 1):
        title = f"Prompt, part {number + 1}"
        key = graph.add(f"positive{number}", "CLIPTextEncode", "Prompt", title=title, clip=("clip", 0), text=text)
        prompts[f"positive.prompt{number}"] = key, 0
    given = {**models, **prompts, "negative": words["negative"], "latent": parts.empty(graph, *SKYREELS)}
    graph.nodes["positive"].title, graph.nodes["empty"].title = "Prompt, part 1", "Size"
    samples = graph.add("rolling", "PusaRollingVideo", "Sample", **given, **ROLLING), 0
    frames = graph.add("frames", "VAEDecode", "Video", samples=samples, vae=("vae", 0)), 0
    parts.save_frames(graph, frames, fps=RATE)
    graph.note = notes.family_note(graph, "rolling", notes.SKYREELS_ROLLING)
    return graph


def skyreels(graph: Graph) -> dict:
    """SkyReels-V2 DF with its VAE."""
    models = parts.one_model(graph, "skyreels", fps=f"{RATE:g}")
    graph.narrow(-110, "model")  # for the name of the file
    parts.vae(graph, parts.file_name("skyreels", "vae"))
    return models


def from_picture(graph: Graph, models: dict, words: dict) -> None:
    """A clip at 24 frames per second whose first frame is a picture, kept exactly."""
    condition = parts.keyframes(graph, PICTURES[:1], "0", "0")
    parts.plot(graph, condition, STEPS)
    frames = parts.sample(graph, models, words, ("empty", 0), STEPS, CFG, condition=condition)
    parts.save_frames(graph, frames, fps=RATE)
