"""Graphs with a form in front (ComfyUI's app mode): what the tabs of the official demo ask for, and seed, size and length."""

from dataclasses import dataclass, field

from . import demo, parts
from .graph import ABOUT, Graph
from .wan import NEGATIVE, PICTURES, PROMPT, SETS, SIZE
from .words import forms

CLIP = "harbour.mp4"
FRACTION = {"min": 0, "max": 1, "step": 0.1, "precision": 1, "display": "slider"}
STRENGTH = {"min": 0.5, "max": 3, "step": 0.1, "precision": 1, "display": "slider"}
STEP_COUNT = {"min": 1, "max": 50, "step": 1}
SIDE, FRAMES = {"min": 16, "max": 4096, "step": 16}, {"min": 1, "max": 1001, "step": 4}
HIGH, LOW = 150, 90  # of text boxes


@dataclass(frozen=True)
class Model:
    """What the forms of a model begin with.

    Attributes:
        prefix: of the names of its graphs.
        title: what its notes say.
        size: width, height and frames.
        pictures: that of the start, of the middle and of the end.
        middle: the frame of the middle one.
    """

    prefix: str
    title: str
    steps: int
    cfg: float
    size: tuple
    pictures: list
    middle: str

    @property
    def embedded(self) -> bool:
        """Whether it is the one that comes with the pack."""
        return self is NANO


WAN21 = Model("app", "Wan2.1", 10, 3.0, SIZE, PICTURES, "40")
WAN22 = Model("app_wan22", *SETS["wan22_lightx2v"], SIZE, PICTURES, "40")
NANO = Model("app_demo", "the embedded model", demo.STEPS, demo.CFG, (demo.SIDE, demo.SIDE, demo.LENGTH), demo.PICTURES, "16")


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

    def numbers(self) -> dict[str, int]:
        """Number of each node, and of the note that the form shows."""
        return self.graph.ids() | {"about": self.graph.about_id}

    def lines(self) -> list[tuple]:
        """Number of the node, widget, label and limits of each control."""
        ids = self.numbers()
        return [(ids[control.node], control.widget, control.label, control.limits) for control in self.controls]

    def form(self) -> dict:
        """What a workflow says of its form, which opens first."""
        ids = self.numbers()
        inputs = [
            [ids[control.node], control.widget, *([{"height": control.height}] if control.height else [])]
            for control in self.controls
        ]
        return {"linearMode": True, "linearData": {"inputs": inputs, "outputs": [ids[self.output]]}}


def apps() -> list[App]:
    """All of them."""
    made = [make(model) for model in (WAN22, WAN21) for make in (image_to_video, multi_frames, video_to_video, text_to_video)]
    return [*made, image_to_video(NANO), multi_frames(NANO)]


def image_to_video(model: Model) -> App:
    """A picture comes alive."""
    graph, inputs = begin(model, "image_to_video")
    latent = parts.empty(graph, *model.size)
    condition = parts.keyframes(graph, model.pictures[:1], "0", "0.2")
    graph.add("noise", "PrimitiveFloat", "Given frames", title="Noise", value=0.0 if model.embedded else 0.2)
    graph.nodes["condition"].inputs["multipliers"] = ("noise", 0)
    lines = [Control("picture0", "image", "Picture"), Control("noise", "value", "Noise", FRACTION)]
    return finish(model, graph, lines, inputs, latent, condition)


def multi_frames(model: Model) -> App:
    """From a picture to another, through a third if wanted: that one has a node of its own, so its texts never count others."""
    graph, inputs = begin(model, "multi_frames")
    latent = parts.empty(graph, *model.size)
    start, middle, end = model.pictures
    noise = ("0, 0", "0") if model.embedded else ("0.2, 0.5", "0.4")
    ends = parts.keyframes(graph, [start, end], "0, last", noise[0], key="ends", column=1)
    graph.add("between", "LoadImage", "Given frames", 1, "Middle picture (optional)", image=middle)
    third = {"images.image0": ("between", 0), "condition": ends}
    every = parts.keyframes(graph, [], model.middle, noise[1], key="all", **third)
    chosen = {"switch": False, "on_false": ends, "on_true": every}
    condition = graph.add("condition", "ComfySwitchNode", "Given frames", 2, "Use the middle picture", **chosen), 0
    graph.narrow(80, "ends", "all", "condition")
    lines = [
        Control("picture0", "image", "Start picture"),
        Control("between", "image", "Middle picture (optional)"),
        Control("picture1", "image", "End picture"),
        Control("condition", "switch", "Use the middle picture"),
        Control("all", "positions", "Frame of the middle picture"),
        Control("all", "noise", "Noise of the middle picture"),
        Control("ends", "noise", "Noise of start and end"),
    ]
    app = finish(model, graph, lines, inputs, latent, condition)
    graph.nodes["steps"].group = "Size and length"  # the first row would be too high for a window
    return app


def video_to_video(model: Model) -> App:
    """Frames of a clip stay where they are, the others are drawn anew."""
    graph, inputs = begin(model, "video_to_video")
    size = {}
    for name, value in zip(("width", "height", "length"), model.size):
        size[name] = graph.add(name, "PrimitiveInt", "Size and length", title=name.capitalize(), value=value), 0
    latent = parts.empty(graph, *size.values())
    video = parts.clip(graph, "given", CLIP, "Video")
    graph.add("parts", "GetVideoComponents", "Given frames", 1, video=video)
    graph.add("taken", "ImageFromBatch", "Given frames", 1, image=("parts", 0), batch_index=0, length=size.pop("length"))
    graph.add("scaled", "ImageScale", "Given frames", 1, image=("taken", 0), upscale_method="lanczos", **size, crop="center")
    graph.narrow(20, "taken", "scaled")
    graph.add("encoded", "VAEEncode", "Given frames", 2, pixels=("scaled", 0), vae=("vae", 0))
    place = {"positions": "0, last", "noise": "0.3"}
    condition = graph.add("condition", "PusaLatentFrames", "Given frames", 2, latent=latent, frames=("encoded", 0), **place), 0
    lines = [
        Control("given", "file", "Video"),
        Control("condition", "positions", "Latent frames that stay"),
        Control("condition", "noise", "Noise of these frames"),
    ]
    return finish(model, graph, lines, inputs, latent, condition)


def text_to_video(model: Model) -> App:
    """A video from words alone."""
    graph, inputs = begin(model, "text_to_video")
    return finish(model, graph, [], inputs, parts.empty(graph, *model.size), None)


def begin(model: Model, task: str) -> tuple[Graph, dict]:
    """The model with its strength, and the prompts: what the sampling node takes of them."""
    graph = Graph(f"{model.prefix}_{task}")
    if model is WAN22:
        models = parts.wan22(graph, distilled=True)
    else:
        models = demo.model(graph) if model.embedded else parts.one_model(graph, "wan21")
        graph.add("alpha", "PrimitiveFloat", "Model", title="LoRA strength", value=1.4)
        graph.nodes["model"].inputs["strength"] = ("alpha", 0)
    if model.embedded:
        return graph, models | demo.prompts(graph)
    parts.vae(graph, parts.file_name("wan21", "vae"))
    return graph, models | parts.prompts(graph, PROMPT, NEGATIVE)


def finish(model: Model, graph: Graph, lines: list[Control], inputs: dict, latent: tuple, condition: tuple | None) -> App:
    """Sampling, the video, the lines that every form has, and the notes."""
    graph.add("steps", "PrimitiveInt", "Model", title="Steps", value=model.steps)
    given = {} if condition is None else {"condition": condition}
    frames = parts.sample(graph, inputs, {}, latent, ("steps", 0), model.cfg, **given)
    parts.save_frames(graph, frames, demo.LARGER if model.embedded else 1.0)
    if condition is not None:
        parts.plot(graph, condition, ("steps", 0))
    text, high, low = ("prompt_name", 0, 0) if model.embedded else ("text", HIGH, LOW)
    controls = [
        Control("about", "text", ABOUT),
        *lines,
        Control("positive", text, "Prompt", height=high),
        Control("sampler", "seed", "Seed"),
        *size_lines(graph),
        Control("steps", "value", "Steps", STEP_COUNT),
        *strength_lines(graph),
    ]
    if model.cfg != 1:
        controls.append(Control("negative", text, "Negative prompt", height=low))
    task = graph.name.removeprefix(f"{model.prefix}_")
    graph.about = forms.about(task, model)
    graph.note = forms.note(graph, task, model)
    return App(graph, controls)


def size_lines(graph: Graph) -> list[Control]:
    """Width, height and length, where they are set."""
    labels = {"width": "Width", "height": "Height", "length": "Length in frames"}
    if "width" in graph.nodes:
        return [Control(name, "value", label, FRAMES if name == "length" else SIDE) for name, label in labels.items()]
    return [Control("empty", name, label) for name, label in labels.items()]


def strength_lines(graph: Graph) -> list[Control]:
    """How strong the Pusa LoRA is, or both."""
    if "alpha" in graph.nodes:
        return [Control("alpha", "value", "LoRA strength", STRENGTH)]
    return [Control("model", f"strength_{expert}", f"LoRA strength, {expert} noise") for expert in ("high", "low")]
