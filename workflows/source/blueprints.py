"""The blueprints: a task of Wan2.2 with LightX2V as one node of ComfyUI's library, with the inputs that a person sets."""

from collections.abc import Callable
from dataclasses import dataclass

from . import parts
from .graph import Graph
from .page.subgraph import Outside, Words, Wrapper
from .wan import BEFORE, NEGATIVE, PICTURES, SIZE

STEPS, CFG = 4, 1.0
NOISE = ("noise", "noise", "condition", "noise")
SEED = ("seed", "seed", "sampler", "seed")
LENGTHS = [(name, name, "empty", name) for name in ("width", "height", "length")]
# Name, label, node and widget of each file: whoever has another one chooses it here.
FILES = [
    ("high_noise_model", "model, high noise", "model", "unet_name_high"),
    ("low_noise_model", "model, low noise", "model", "unet_name_low"),
    ("high_noise_lora", "Pusa, high noise", "model", "lora_name_high"),
    ("low_noise_lora", "Pusa, low noise", "model", "lora_name_low"),
    ("high_noise_lightx2v", "LightX2V, high noise", "model", "distill_lora_name_high"),
    ("low_noise_lightx2v", "LightX2V, low noise", "model", "distill_lora_name_low"),
    ("text_encoder", "text encoder", "clip", "clip_name"),
    ("vae", "VAE", "vae", "vae_name"),
]


@dataclass(frozen=True)
class Blueprint:
    """What a blueprint is made of.

    Attributes:
        words: name, category, description and aliases.
        fill: adds the task to a graph that has models and prompts; gets the models and the prompts.
        sockets: (name, label, stand-in) of inputs that come from other nodes.
        widgets: (name, label, node, widget) of what is set on the node.
        output: (node, output) of the video.
    """

    words: Words
    fill: Callable[[Graph, dict, dict], None]
    sockets: list[tuple]
    widgets: list[tuple]
    output: tuple[str, str]

    def graph(self) -> Graph:
        """The graph inside, with nodes that stand in for what comes from outside."""
        graph = Graph(self.words.name)
        models = parts.wan22(graph, distilled=True)
        parts.vae(graph, parts.file_name("wan21", "vae"))
        self.fill(graph, models, parts.prompts(graph, "", NEGATIVE))
        return graph

    def wrap(self, flat: dict, properties: dict) -> dict:
        """The blueprint of what the page made of `graph`, its only node with these properties."""
        ids, wrapper = self.graph().ids(), Wrapper(flat, self.words)
        for name, label, key in self.sockets:
            wrapper.take_socket(Outside(name, label, ids[key], ""))
        for name, label, key, widget in [("prompt", "prompt", "positive", "text"), *self.widgets, *FILES]:
            wrapper.take_widget(Outside(name, label, ids[key], widget))
        key, slot = self.output
        wrapper.give(Outside("video", "video", ids[key], slot))
        return wrapper.blueprint(properties)


def from_pictures(count: int, positions: str, noise: str) -> Callable:
    """A task with pictures on the timeline."""

    def fill(graph: Graph, models: dict, words: dict) -> None:
        latent = parts.empty(graph, *SIZE)
        condition = parts.keyframes(graph, PICTURES[:count], positions, noise)
        frames = parts.sample(graph, models, words, latent, STEPS, CFG, condition=condition)
        graph.add("video", "CreateVideo", "Video", images=frames, fps=16.0)

    return fill


def longer(graph: Graph, models: dict, words: dict) -> None:
    """A clip that goes on."""
    video = parts.clip(graph, "given", BEFORE, "Clip")
    words = {"positive.prompt0": words["positive"], "negative": words["negative"]}
    parts.extend(graph, models, words, STEPS, CFG, video=video, noise="0.2, 0.4, 0.4, 0.4")


BLUEPRINTS = [
    Blueprint(
        Words(
            "Image to Video (Pusa)",
            "Video generation and editing/Image to video",
            "Brings a picture to life with Wan2.2 text-to-video, the Pusa LoRA and LightX2V in 4 steps. noise is how far the first "
            "frame may change: 0 keeps it exactly. length counts frames, 4n + 1, at 16 per second.",
            ("i2v", "pusa", "animate picture", "wan 2.2 image to video"),
        ),
        from_pictures(1, "0", "0.2"),
        [("image", "image", "picture0")],
        [NOISE, *LENGTHS, SEED],
        ("video", "VIDEO"),
    ),
    Blueprint(
        Words(
            "Start-End to Video (Pusa)",
            "Video generation and editing/FLF2V",
            "A video from a first to a last picture with Wan2.2 text-to-video, the Pusa LoRA and LightX2V in 4 steps. noise is how "
            "far each picture may change: 0 keeps it exactly. length counts frames, 4n + 1, at 16 per second.",
            ("start end frames", "first last frame", "flf2v", "pusa", "interpolate pictures"),
        ),
        from_pictures(2, "0, last", "0.2, 0.5"),
        [("start_image", "start image", "picture0"), ("end_image", "end image", "picture1")],
        [NOISE, *LENGTHS, SEED],
        ("video", "VIDEO"),
    ),
    Blueprint(
        Words(
            "Extend Video (Pusa)",
            "Video generation and editing/Video Edit",
            "Makes a clip longer with Wan2.2 text-to-video, the Pusa LoRA and LightX2V in 4 steps. Each hop is given the last "
            "overlap frames and adds new_frames. The clip keeps its own frames, size, frame rate and sound.",
            ("video extension", "continue video", "longer video", "v2v", "pusa"),
        ),
        longer,
        [("clip", "clip", "given")],
        [(name, name, "join", name) for name in ("new_frames", "overlap", "hops", "noise", "seed")],
        ("join", "video"),
    ),
]
