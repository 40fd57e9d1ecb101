"""Four graphs with a form in front (ComfyUI's app mode): the tabs of the official demo, with its controls, ranges and defaults."""

from dataclasses import dataclass, field

from . import notes, parts
from .graph import Graph
from .wan import NEGATIVE, PICTURES, PROMPT, SIZE

CLIP = "harbour.mp4"
STEPS, CFG = 10, 3.0
FRACTION = {"min": 0, "max": 1, "step": 0.1, "precision": 1, "display": "slider"}
STRENGTH = {"min": 0.5, "max": 3, "step": 0.1, "precision": 1, "display": "slider"}
STEP_COUNT = {"min": 1, "max": 50, "step": 1}
PICTURE_COUNT = {"min": 2, "max": 3, "step": 1}
IMAGES = ("Image 1", "Image 2", "Image 3 (optional)")
HIGH, LOW = 150, 90  # of text boxes
TITLES = {
    "app_image_to_video": "App: Image to Video",
    "app_multi_frames": "App: Multi-Frames to Video",
    "app_video_to_video": "App: Video to Video",
    "app_text_to_video": "App: Text to Video",
}
WHAT = {
    "app_image_to_video": "A picture comes alive. **Noise Multiplier**: 0 to 0.3 stays close to it, 0.4 to 1 varies it more.",
    "app_multi_frames": (
        "Two or three pictures on the timeline. **Conditioning Positions** and **Noise Multipliers** take one value for each, in "
        "their order: 0 is the first latent frame, 20 the last. For the three shown: **Number of Images** 3, `0,20,10` and "
        "`0.2,0.6,0.4`."
    ),
    "app_video_to_video": (
        "Latent frames of a clip stay where they are, the others are drawn anew. `0,20` keeps its first and its last frames, "
        "`0,1,2,3` with `0.0,0.3,0.4,0.5` the first 13. The clip needs at least 81 frames."
    ),
    "app_text_to_video": "A video from words alone.",
}


@dataclass(frozen=True)
class Control:
    """One line of the form: a widget of a node, its label, and for a number its limits."""

    node: str
    widget: str
    label: str
    limits: dict = field(default_factory=dict)
    height: int = 0


@dataclass
class App:
    """A graph, the lines of its form from top to bottom, and the node whose video the form shows."""

    graph: Graph
    controls: list[Control]
    output: str = "save"

    def lines(self) -> list[tuple]:
        """Number of the node, widget, label and limits of each control."""
        ids = self.graph.ids()
        return [(ids[control.node], control.widget, control.label, control.limits) for control in self.controls]

    def form(self) -> dict:
        """What a workflow says of its form, which opens first."""
        ids = self.graph.ids()
        inputs = [
            [ids[control.node], control.widget, *([{"height": control.height}] if control.height else [])]
            for control in self.controls
        ]
        return {"linearMode": True, "linearData": {"inputs": inputs, "outputs": [ids[self.output]]}}


def apps() -> list[App]:
    """All of them."""
    return [image_to_video(), multi_frames(), video_to_video(), text_to_video()]


def image_to_video() -> App:
    """A picture comes alive."""
    graph, latent = begin("app_image_to_video", "i2v")
    condition = parts.keyframes(graph, PICTURES[:1], "0", "0.2")
    graph.add("noise", "PrimitiveFloat", "Given frames", title="Noise Multiplier", value=0.2)
    graph.nodes["condition"].inputs["multipliers"] = ("noise", 0)
    lines = [Control("picture0", "image", "Image"), Control("noise", "value", "Noise Multiplier", FRACTION)]
    return finish(graph, lines, latent, condition)


def multi_frames() -> App:
    """Two or three pictures on the timeline."""
    graph, latent = begin("app_multi_frames", "keyframes")
    start, middle, end = PICTURES
    condition = parts.keyframes(graph, [start, end, middle], "0,20", "0.2,0.5")
    inputs = graph.nodes["condition"].inputs
    images = {name: inputs.pop(name) for name in list(inputs) if name.startswith("images.")}
    graph.add("count", "PrimitiveInt", "Given frames", title="Number of Images", value=2)
    graph.add("batch", "BatchImagesNode", "Given frames", 1, **images)
    graph.add("chosen", "ImageFromBatch", "Given frames", 1, image=("batch", 0), batch_index=0, length=("count", 0))
    inputs |= {"images.image0": ("chosen", 0), "unit": "latent"}
    lines = [Control(f"picture{index}", "image", label) for index, label in enumerate(IMAGES)]
    for line in lines:
        graph.nodes[line.node].title = line.label
    lines.append(Control("count", "value", "Number of Images", PICTURE_COUNT))
    return finish(graph, [*lines, *places()], latent, condition)


def video_to_video() -> App:
    """Frames of a clip stay where they are, the others are drawn anew."""
    graph, latent = begin("app_video_to_video", "completion")
    width, height, length = SIZE
    video = parts.clip(graph, "given", CLIP, "Video")
    graph.add("parts", "GetVideoComponents", "Given frames", 1, video=video)
    graph.add("taken", "ImageFromBatch", "Given frames", 1, image=("parts", 0), batch_index=0, length=length)
    scale = {"upscale_method": "lanczos", "width": width, "height": height, "crop": "center"}
    graph.add("scaled", "ImageScale", "Given frames", 1, image=("taken", 0), **scale)
    graph.add("encoded", "VAEEncode", "Given frames", 2, pixels=("scaled", 0), vae=("vae", 0))
    place = {"positions": "0,20", "noise": "0.3,0.3"}
    condition = graph.add("condition", "PusaLatentFrames", "Given frames", 2, latent=latent, frames=("encoded", 0), **place), 0
    return finish(graph, [Control("given", "file", "Video"), *places()], latent, condition)


def text_to_video() -> App:
    """A video from words alone."""
    graph, latent = begin("app_text_to_video", "t2v")
    return finish(graph, [], latent, None)


def begin(name: str, task: str) -> tuple:
    """The model with its strength, the prompts, and the latent to sample."""
    graph = Graph(name)
    parts.one_model(graph, "wan21")
    graph.add("alpha", "PrimitiveFloat", "Model", title="LoRA Alpha", value=1.4)
    graph.nodes["model"].inputs["strength"] = ("alpha", 0)
    parts.vae(graph, parts.file_name("wan21", "vae"))
    parts.prompts(graph, PROMPT, NEGATIVE)
    return graph, parts.empty(graph, *SIZE)


def places() -> list[Control]:
    """Where the given frames go, and how far each may change."""
    return [Control("condition", "positions", "Conditioning Positions"), Control("condition", "noise", "Noise Multipliers")]


def finish(graph: Graph, lines: list[Control], latent: tuple, condition: tuple | None) -> App:
    """Sampling, the video, the lines that every form has, and the note."""
    graph.add("steps", "PrimitiveInt", "Sample", title="Inference Steps", value=STEPS)
    given = {} if condition is None else {"condition": condition}
    words = {"positive": ("positive", 0), "negative": ("negative", 0)}
    parts.save_frames(graph, parts.sample(graph, {"model": ("model", 0)}, words, latent, ("steps", 0), CFG, **given))
    if condition is not None:
        parts.plot(graph, condition, ("steps", 0), 1)
        graph.nodes["plot"].group = "Sample"  # where its steps come from
    controls = [
        *lines,
        Control("alpha", "value", "LoRA Alpha", STRENGTH),
        Control("steps", "value", "Inference Steps", STEP_COUNT),
        Control("positive", "text", "Prompt", height=HIGH),
        Control("negative", "text", "Negative Prompt", height=LOW),
    ]
    graph.note = note(graph)
    return App(graph, controls)


def note(graph: Graph) -> str:
    """The note of a graph with a form."""
    width, height, length = SIZE
    what = [
        WHAT[graph.name],
        "This graph opens as a form with the controls of the official demo. **Enter app mode**, in the menu at the top left, leads "
        "back to it.",
        f"Fixed here: cfg {CFG:g}, seed 0, {width} x {height}, {length} frames at 16 per second. The official demo has cfg 5, "
        "1280 x 720 and 25 per second.",
    ]
    worth = [
        "`seed` in **KSampler (Pusa)**: another number is another video.",
        "`width` and `height` in **Size and length**.",
        "`value` in **LoRA Alpha**: 1.3 to 1.5. Higher follows the given frames more closely and moves less.",
    ]
    inputs = "" if graph.name == "app_text_to_video" else f"Choose your own in the form. Those shown are in {notes.INPUTS}."
    return notes.compose(TITLES[graph.name], what, notes.file_list(graph), worth, inputs)
