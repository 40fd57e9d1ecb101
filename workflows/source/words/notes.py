"""The words of the notes: what a graph does, which files it needs, three settings worth changing, and where to put files."""

import re

from devtools.weights.models import JoinedFile

from ..graph import Graph, file_url

INPUTS = "ComfyUI's input folder, where the pack put them at its first start"
WHAT = {
    "t2v": "A video from words alone.",
    "i2v": "A picture comes alive: it is the first frame, the prompt says what happens.",
    "start_end": "The video begins with one picture and ends with another.",
    "keyframes": "The video passes through three pictures: at its start, in the middle and at its end.",
    "timeline": "The video passes through the pictures and clips of a film strip, each at its place.",
    "completion": "The start of a clip and the end of a clip are given; what lies between is drawn.",
    "extension": "A clip goes on: its last 13 frames lead to 68 new ones. Your frames stay as they are, sound and frame rate too.",
    "transition": "New frames lead from the end of one clip to the start of another. Your frames stay as they are.",
    "hold": "A picture given with much noise waits at its level while the rest comes down to it, and then moves with the rest.",
    "forcing": "Words alone, and blocks of three latent frames become clean one after the other, as in diffusion forcing.",
    "rolling": "161 frames, 10 seconds, through a window of 81: each frame leaves it when it is clean.",
}
NAMES = {
    "t2v": "text to video", "i2v": "image to video", "start_end": "start and end frames", "keyframes": "keyframes",
    "timeline": "storyboard", "completion": "completion", "extension": "extension", "transition": "transition",
    "async": "image to video, block after block", "hold": "hold the picture, move later", "forcing": "diffusion forcing",
    "rolling": "a clip of any length",
}  # fmt: skip
LENGTH = "`length` in **Size and length**: 81 frames are 5 seconds at 16 frames per second; always 4n + 1."
OVERLAP = "`overlap`: the frames that the model is given; more carry the motion further. Overlap and new frames should make 81"
KEYFRAMES = "`positions` in **Keyframes (Pusa)**: the frame of each picture, `last` for the last one."
WORTH = {
    "t2v": ("`seed` in **KSampler (Pusa)**: another number is another video.", LENGTH),
    "i2v": ("`noise` in **Keyframes (Pusa)**: 0 keeps the picture exactly, 0.3 moves more.", LENGTH),
    "start_end": ("`noise` in **Keyframes (Pusa)**: one value for each picture. A higher one for the end arrives softly.", LENGTH),
    "keyframes": (KEYFRAMES, "`noise` in **Keyframes (Pusa)**: one value for each picture; 0 keeps it exactly."),
    "timeline": (
        "The strip in **Timeline (Pusa)**: drop pictures and clips onto it, drag them; a knob is the noise, Delete takes one away.",
        "`timeline`: the text beside the strip, a line for each. It is the whole storyboard; change either.",
    ),
    "completion": (
        "`frames` in both **Video Frames (Pusa)**: 1 and 5 are the official choice; 13 at each end keeps the motion, too.",
        "`noise` in both: lower keeps the given frames more exactly.",
    ),
    "extension": (
        "`hops` in **Extend Video (Pusa)**: how often the video is extended. A prompt for each hop can be connected.",
        f"{OVERLAP}: 13 + 68.",
    ),
    "transition": ("`new_frames` in **Transition (Pusa)**: how long the way is, 4n - 1.", f"{OVERLAP}: 13 + 55 + 13."),
    "hold": (
        "`noise` in **Keyframes (Pusa)**: lower waits longer and changes less.",
        "`kind` in **Schedule (Pusa)**: scaled comes down with the rest, from the same noise.",
    ),
    "forcing": (
        "`lag` in **Schedule (Pusa)**: 0 is all frames at once, 30 is block after block. Each step of it adds 6 to the run.",
        "`block`: fewer frames in a block are more blocks, and more steps. `steps` are set in all three nodes.",
    ),
    "rolling": (
        "`length` in **Rolling Video (Pusa)**: 4n + 1 frames. More prompts can be connected; they share it evenly.",
        "`window`: latent frames that the model sees; 21 are the 81 frames of its training. Fewer need less memory.",
    ),
}
UNJUDGED = "How this looks with the weights of Wan was not judged: the LoRA was made with levels that are drawn apart."
WORDS_ALONE = ("t2v", "forcing", "rolling")
GIVEN_EXACTLY = "`noise` in **Keyframes (Pusa)**: 0 keeps the picture exactly"
# Of the graphs for relatives of Wan: name of the model, what to know, three settings.
WAN22_5B_WORDS = (
    "30 steps at cfg 5 and shift 5, 24 frames per second: the settings of Wan's own code, which makes 50 steps. No LoRA is needed, "
    "because the model was trained with a clean first frame."
)
WAN22_5B_I2V = (
    "Wan2.2 5B",
    (
        WHAT["i2v"],
        WAN22_5B_WORDS,
        "1280 x 704 is the size that the model is made for, and it is light: 27,280 tokens for 121 frames, where Wan2.1 has 32,760 "
        "for 81 frames of 832 x 480. [ComfyUI's tutorial](https://docs.comfy.org/tutorials/video/wan/wan2_2) names 8 GB as enough. "
        "Other sizes go in steps of 32 pixels.",
    ),
    (
        "`seed` in **KSampler (Pusa)**: another number is another video.",
        f"{GIVEN_EXACTLY}, as in the training of this model; more was not trained.",
        "`length` in **Size and length**: 121 frames are 5 seconds; always 4n + 1. Fewer need less memory.",
    ),
)
WAN22_5B_EXTENSION = (
    "Wan2.2 5B",
    (
        "A clip goes on: its last 13 frames lead to 108 new ones. Your frames stay as they are, sound and frame rate too.",
        WAN22_5B_WORDS,
        "The clip should be at 24 frames per second, as the one shown; for another rate set `resample`. It keeps its size: the "
        "model is made for 1280 x 704, and sides that are no multiples of 32 are padded and cut again.",
    ),
    (
        "`hops` in **Extend Video (Pusa)**: how often the video is extended. A prompt for each hop can be connected.",
        "`overlap`: the frames that the model is given. 1 is what it was trained with; more carry the motion further. Overlap and "
        "new frames should make 121: 13 + 108.",
        "`noise`: 0 keeps the given frames clean, as in the training of this model.",
    ),
)
VACE = (
    "Wan2.1 VACE",
    (
        "The video begins with one picture and ends with another, and the edges of a clip say what moves between. More pictures "
        "can be connected, each with its place in `positions`. The control can be anything "
        "that VACE knows, such as depth, pose or lines: put its node in the place of Detect Edges.",
        "30 steps at cfg 3, 832 x 480, 16 frames per second, as for Wan2.1. The Pusa LoRA was made for text-to-video and goes onto "
        "VACE unchanged.",
        "`reference_image` of **Size, length and control** (WanVaceToVideo) takes a picture of somebody or something. The "
        "latent is then longer: the reference lies in front, `trim_latent` is 1 instead of 0, and Trim Video Latent takes it out "
        "again. Latent frame p of the video is p + `trim_latent`, so add 4 to the `positions` (`4, last`), or 1 where `unit` "
        "is latent. The picture of the first frame needs a Keyframes (Pusa) of its own then, with `encode` on still.",
    ),
    (
        "`strength` in **Size, length and control**: how closely the video follows the control; 0 is without it.",
        KEYFRAMES,
        "`weight_dtype` in **Load Model (Pusa)**: fp8_e4m3fn halves the 35 GB of the file in memory.",
    ),
)
SKYREELS = (
    "SkyReels-V2 Diffusion Forcing",
    (
        WHAT["i2v"],
        "30 steps at cfg 5 and shift 5, 960 x 544, 97 frames at 24 per second: the settings of diffusers for image to video, which "
        "makes 50 steps. For text to video they are cfg 6 and shift 8.",
        "No LoRA is needed, because the model was trained with a noise level for each frame "
        "([arXiv 2504.13074](https://arxiv.org/abs/2504.13074)). Keep SkyReels and DF in the name of the file: the 14B model is "
        "told from Wan2.1 by it. `fps` in **Load Model (Pusa)** matters for the 1.3B model only.",
    ),
    (
        "`seed` in **KSampler (Pusa)**: another number is another video.",
        f"{GIVEN_EXACTLY}; every level was trained.",
        "`width`, `height` and `length` in **Size and length**: smaller is faster and needs less memory.",
    ),
)
SKYREELS_ASYNC = (
    SKYREELS[0],
    (
        "A picture comes alive, and the latent frames become clean in blocks of 5 that start 5 steps apart: the asynchronous mode "
        "of its authors. A run has 50 steps then, 30 for each frame, at cfg 5 and shift 5; 960 x 544, 97 frames at 24 per second.",
        SKYREELS[1][2],
    ),
    (
        "`lag` in **Schedule (Pusa)**: 0 is all frames at once, 30 is block after block. Each step of it adds 4 to the run.",
        "`block`: fewer frames in a block are more blocks, and more steps.",
        f"{GIVEN_EXACTLY}. `steps` in **KSampler (Pusa)** are those of each frame; set them in **Plot Condition (Pusa)**, too.",
    ),
)
SKYREELS_ROLLING = (
    SKYREELS[0],
    (
        "193 frames, 8 seconds, through a window of 97 with three prompts along the way: 126 calls, each of the time and memory of "
        "97 frames. 30 steps for each frame at cfg 6 and shift 8. The quality of such clips was not judged.",
        SKYREELS[1][2],
    ),
    (
        "`length` in **Rolling Video (Pusa)**: 4n + 1 frames. The prompts share it evenly; more can be connected.",
        "`window`: latent frames that the model sees; 25 are the 97 frames of its training. Fewer need less memory.",
        "`block`: 2 or 3 need fewer calls.",
    ),
)
STRENGTH = {
    "wan21": "`strength` in **Load Model (Pusa)**: 1.3 to 1.5. Higher follows the given frames more closely and moves less.",
    "wan22": "`strength_high` in **Load Model Pair (Pusa)**: higher follows the given frames more closely and moves less.",
}
EMBEDDED_FILES = (
    "Nothing to download: the model comes with this pack, and ComfyUI lists it beside your own. At its first start the pack "
    "put the pictures and clips into ComfyUI's input folder."
)
SEEN = "**Plot Condition (Pusa)** shows which frames are given, and how much noise each gets."


def compose(title: str, what: list, files: str, worth: list, inputs: str = "") -> str:
    """A note in Markdown, with bold for inline code."""
    given = ["## Pictures and clips", inputs] if inputs else []
    parts = [f"# {title}", "Needs the custom node pack **Pusa for ComfyUI**.", *what, "## Files", files, *given]
    settings = "\n".join(f"{number}. {line}" for number, line in enumerate(worth, 1))
    return bold("\n\n".join([*parts, "## Worth changing", settings]) + "\n")


def bold(text: str) -> str:
    """Inline code as bold: in Nodes 2.0 it is dark on the dark of a note."""
    return re.sub(r"`([^`\n]+)`", r"**\1**", text)


def file_list(graph: Graph) -> str:
    """The official files of a graph, with their links and folders."""
    lines = []
    for file in graph.files():
        if isinstance(file, JoinedFile):
            halves = " and ".join(f"[{half.source}]({file_url(half)})" for half in file.halves)
            lines.append(f"- {file.name} to `models/{file.folder}`: `python dev.py download mochi` joins it from {halves}")
            continue
        renamed = "" if file.source.endswith(file.name) else ", saved under this name"
        lines.append(f"- [{file.name}]({file_url(file)}) to `models/{file.folder}`{renamed}")
    return "\n".join(lines)


def wan_note(graph: Graph, task: str, title: str, steps: int, cfg: float) -> str:
    """The note of a graph for Wan2.1 or Wan2.2."""
    what = [WHAT[task], f"{steps} steps at cfg {cfg:g}, 832 x 480, 16 frames per second."]
    if cfg == 1:
        what[-1] += " At cfg 1 the negative prompt is not used."
    if "condition" in graph.nodes:
        what.append(SEEN)
    if task in ("hold", "forcing", "rolling"):
        what.append(UNJUDGED)
    family = graph.name.split("_")[0]
    if family == "wan21" and task != "rolling":
        what.append(
            "For 4 steps: choose a LightX2V LoRA as `distill_lora_name`, then set `steps` to 4 and `cfg` to 1 in the sampling "
            "node. The low-noise one for Wan2.2 does for Wan2.1; `python dev.py download lightx2v` fetches it."
        )
    inputs = "" if task in WORDS_ALONE else f"Choose your own in the green group. Those shown are in {INPUTS}."
    return compose(f"{title}: {NAMES[task]}", what, file_list(graph), [*WORTH[task], STRENGTH[family]], inputs)


def family_note(graph: Graph, task: str, words: tuple) -> str:
    """The note of a graph for a relative of Wan."""
    title, what, worth = words
    what = [*what, *([SEEN] if "condition" in graph.nodes else [])]
    inputs = "" if task == "rolling" else f"Choose your own in the green groups. Those shown are in {INPUTS}."
    return compose(f"{title}: {NAMES[task]}", what, file_list(graph), worth, inputs)


def demo_note(title: str, what: str, setting: str) -> str:
    """The note of a graph for the embedded model."""
    about = (
        "The embedded model knows only a world of moving shapes, 64 x 64 pixels. It is here to show how the graph works, in "
        "seconds and on any processor; for real videos take the graph of the same task for Wan."
    )
    worth = [f"{setting}.", "`steps`: 4 is faster, 20 a little better.", "`strength` in **Load Model (Pusa)**."]
    return compose(f"Demo: {title}", [what, about], EMBEDDED_FILES, worth)


def any_sampler_note(graph: Graph) -> str:
    """The note of the graph for other samplers."""
    what = [
        "**Apply Condition (Pusa)** makes per-frame noise work in any sampler node that takes a MODEL and a LATENT: connect both "
        "of its outputs. Here it is SamplerCustomAdvanced with dpmpp_2m, for Wan2.1.",
        "VAE Encode encodes the picture and **Latent Frames (Pusa)** puts it on the timeline; Keyframes (Pusa) does both at once.",
        SEEN,
    ]
    worth = ["`sampler_name` in **Any sampler**.", "`steps` in **Scheduler (Pusa)**.", "`noise` in **Latent Frames (Pusa)**."]
    inputs = f"Choose your own in the green group. The one shown is in {INPUTS}."
    return compose("Any sampler", what, file_list(graph), worth, inputs)


def prompt_files_note(graph: Graph) -> str:
    """The note of the graph that stores prompts."""
    what = [
        "Encodes two prompts once and stores them in `models/prompts`. From then on the 11 GB text encoder is not needed for them.",
        "1. Run this graph.\n2. Press R, so that the files are listed.\n3. In the graph of your video, put two **Load Prompt "
        "(Pusa)** in the place of Load CLIP and both CLIP Text Encode. The muted ones here are to copy.",
    ]
    worth = [
        "The texts of both prompts.",
        "`prompt_name` in **Save Prompt (Pusa)**: the name of the file; a subfolder is allowed.",
        "`overwrite`: off, a name that holds another prompt is an error.",
    ]
    return compose("Stored prompts", what, file_list(graph), worth)


def merge_note(graph: Graph) -> str:
    """The note of the graph that merges a LoRA."""
    what = [
        "Writes a model file with the Pusa LoRA merged in, which starts faster and takes less memory. It takes about 1 GB of "
        "memory, no graphics card, and room for a second file as large as the first.",
        "Then choose the new file in Load Diffusion Model, with no Pusa LoRA behind it. For Wan2.2 merge twice: the high LoRA into "
        "the high-noise file, the low LoRA into the low-noise file.",
    ]
    worth = [
        "`strength`: 1.4 for Wan2.1 and the low-noise expert, 1.5 for the high-noise one. It is fixed in the new file.",
        "`filename`: the name of the new file.",
        "`lora_name_2`: a LightX2V LoRA to merge as well, at 1.",
    ]
    return compose("Merge a LoRA", what, file_list(graph), worth)


def train_note(graph: Graph) -> str:
    """The note of the graph that trains a LoRA."""
    what = [
        "Trains the Pusa LoRA further on a clip of yours, saves it in `output/loras`, and makes a clip with it. It needs two more "
        'packages in the Python of ComfyUI: `pip install "accelerate>=1.10" "peft>=0.18"`.',
        "For more clips put **Load Video-Text (from Folder)** in the place of Load Video: videos go on as before, texts into CLIP "
        "Text Encode. Nodes in between run for each.",
        "Cancel keeps what it has; Run goes on from there. The help page of **Train LoRA (Pusa)** says what fits a card.",
    ]
    worth = [
        "`steps` and `learning_rate` in **Train LoRA (Pusa)**.",
        "`run_name`: another name is a new run.",
        "`init_lora`: `none` with a `rank` of your choice begins a new LoRA.",
    ]
    inputs = f"Choose your own in the green group. The one shown is in {INPUTS}."
    return compose("Train a LoRA", what, file_list(graph), worth, inputs)
