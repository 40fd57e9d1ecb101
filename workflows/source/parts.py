"""What graphs are made of: each function adds a few nodes and returns where their result comes from."""

from devtools.weights.models import MODELS

from .graph import Graph

PICTURE_TITLES = {1: ("Picture",), 2: ("Start picture", "End picture"), 3: ("Start picture", "Middle picture", "End picture")}
OFFICIAL = {"shift": 5.0, "sampler_name": "euler", "scheduler": "flow_match"}
JOIN = {"color_match": 0.0, "cross_fade": 0, "fps": 16.0, "frames_in": "memory"}
NO_LORA = "none"


def file_name(model: str, folder: str, word: str = "") -> str:
    """Name of the file of a model that goes to a folder and whose name has a word in it."""
    (name,) = {file.name for file in MODELS[model] if file.folder == folder and word in file.name}
    return name


def one_model(graph: Graph, model: str, strength: float = 1.4, **more) -> dict:
    """A model in one file, with its Pusa LoRA if it has one."""
    (lora,) = {file.name for file in MODELS[model] if file.folder == "loras"} or {NO_LORA}
    graph.add(
        "model", "PusaModelLoader", "Model", unet_name=file_name(model, "diffusion_models"), weight_dtype="default",
        lora_name=lora, strength=strength, distill_lora_name=NO_LORA, distill_strength=1.0, **more,
    )  # fmt: skip
    return {"model": ("model", 0)}


def wan22(graph: Graph, distilled: bool) -> dict:
    """Both experts of Wan2.2 with their LoRAs, and those of LightX2V if wanted."""
    names = {}
    for expert, strength in (("high", 1.5), ("low", 1.4)):
        names |= {
            f"unet_name_{expert}": file_name("wan22", "diffusion_models", expert),
            f"lora_name_{expert}": file_name("wan22", "loras", expert),
            f"strength_{expert}": strength,
            f"distill_lora_name_{expert}": file_name("lightx2v", "loras", f"_{expert}_noise") if distilled else NO_LORA,
            f"distill_strength_{expert}": 1.0,
        }
    graph.add("model", "PusaModelPairLoader", "Model", weight_dtype="default", **names)
    return {"model": ("model", 0), "model_low": ("model", 1), "boundary": 0.875, "cfg_low": 0.0}


def vae(graph: Graph, name: str) -> tuple:
    """The VAE."""
    return graph.add("vae", "VAELoader", "Model", vae_name=name), 0


def prompts(graph: Graph, positive: str, negative: str, model: str = "wan21", kind: str = "wan") -> dict:
    """The text encoder of a model and both prompts."""
    graph.add("clip", "CLIPLoader", "Model", clip_name=file_name(model, "text_encoders"), type=kind, device="default")
    for key, title, text in (("positive", "Prompt", positive), ("negative", "Negative prompt", negative)):
        graph.add(key, "CLIPTextEncode", "Prompt", title=title, clip=("clip", 0), text=text)
    return {"positive": ("positive", 0), "negative": ("negative", 0)}


def empty(graph: Graph, width: int, height: int, length: int, node: str = "EmptyHunyuanLatentVideo") -> tuple:
    """The latent to sample."""
    size = {"width": width, "height": height, "length": length, "batch_size": 1}
    return graph.add("empty", node, "Size and length", title="Size and length", **size), 0


def keyframes(
    graph: Graph, pictures: list, positions: str, noise: str, latent: tuple = ("empty", 0), key: str = "condition", column: int = 2,
    **more,
) -> tuple:  # fmt: skip
    """Pictures on the timeline."""
    titles = PICTURE_TITLES.get(len(pictures), ())
    for index, (picture, title) in enumerate(zip(pictures, titles)):
        graph.add(f"picture{index}", "LoadImage", "Given frames", index // 2, title, image=picture)
    images = {f"images.image{index}": (f"picture{index}", 0) for index in range(len(pictures))}
    settings = {"positions": positions, "unit": "frame", "noise": noise, "fit": "crop", "encode": "causal"}
    given = {"vae": ("vae", 0), "latent": latent, **images, **settings, **more}
    return graph.add(key, "PusaKeyframes", "Given frames", column, **given), 0


def timeline(graph: Graph, text: str) -> tuple:
    """Pictures and clips as lines of a text, on a film strip."""
    given = {"vae": ("vae", 0), "latent": ("empty", 0), "fps": 0.0, "timeline": text}
    return graph.add("condition", "PusaTimeline", "Storyboard", **given), 0


def clip(graph: Graph, key: str, file: str, title: str, side: int = 0) -> tuple:
    """A clip as a video, or as frames of a size."""
    graph.add(key, "LoadVideo", "Given frames", title=title, file=file)
    if not side:
        return key, 0
    graph.add(f"{key} parts", "GetVideoComponents", "Given frames", 1, video=(key, 0))
    scale = {"upscale_method": "area", "width": side, "height": side, "crop": "disabled"}
    return graph.add(f"{key} frames", "ImageScale", "Given frames", 1, image=(f"{key} parts", 0), **scale), 0


def completion(graph: Graph, clips: tuple, frames: tuple, noise: str, column: int) -> tuple:
    """The start of a clip at the start and the end of another at the end, chained."""
    chain = {}
    for key, frames_of, place, count in zip(("head", "condition"), clips, ("start", "end"), frames):
        settings = {"take": place, "frames": count, "place": place, "noise": noise, "fit": "crop"}
        given = {"vae": ("vae", 0), "latent": ("empty", 0), "video": frames_of, **settings, **chain}
        title = f"Video Frames (Pusa), {place}"
        chain = {"condition": (graph.add(key, "PusaVideoFrames", "Given frames", column, title, **given), 0)}
    return chain["condition"]


def schedule(graph: Graph, steps: int, **settings) -> tuple:
    """Levels that are not the same share of the sampler's for every frame."""
    common = {"latent": ("empty", 0), "lag": 2, "block": 1, "order": "forward", "steps": steps, "shift": 5.0}
    return graph.add("schedule", "PusaSchedule", "Schedule", **(common | settings)), 0


def scheduled(graph: Graph, steps: int, settings: dict, pictures: list) -> tuple:
    """A schedule with its plot; a picture that waits in it is given with much noise."""
    given = {"condition": keyframes(graph, pictures, "0", "0.7")} if pictures else {}
    condition = schedule(graph, steps, **settings, **given)
    plot(graph, condition, steps, "Schedule")
    graph.narrow(80, *{"condition", "schedule"} & graph.nodes.keys())
    return condition


def plot(graph: Graph, condition: tuple, steps: int, group: str = "Given frames", **inputs) -> None:
    """A picture of what the condition means."""
    graph.add("plot", "PusaConditionPlot", group, 9, condition=condition, steps=steps, shift=5.0, **inputs)


def sample(
    graph: Graph, models: dict, words: dict, latent: tuple, steps: int, cfg: float, trim: tuple | None = None,
    tiles: dict | None = None, **changes,
) -> tuple:  # fmt: skip
    """Sampling of one clip, and its frames.

    Args:
        trim: how many latent frames in front are no part of it.
        tiles: settings of VAE Decode (Tiled), for frames that do not fit in memory at once.
    """
    settings = {"latent_image": latent, "seed": 0, "steps": steps, "cfg": cfg, **OFFICIAL, "denoise": 1.0}
    samples = graph.add("sampler", "PusaKSampler", "Sample", **models, **words, **(settings | changes)), 0
    if trim:
        samples = graph.add("trimmed", "TrimVideoLatent", "Video", samples=samples, trim_amount=trim), 0
    decoder = "VAEDecodeTiled" if tiles else "VAEDecode"
    return graph.add("frames", decoder, "Video", samples=samples, vae=("vae", 0), **(tiles or {})), 0


def extend(graph: Graph, models: dict, words: dict, steps: int, cfg: float, **changes) -> str:
    """A clip that goes on; the key of its node."""
    settings = {
        "overlap": 13, "new_frames": 68, "hops": 1, "direction": "forwards", "seed": 0,
        "hop_seed": "increment", "steps": steps, "cfg": cfg, **OFFICIAL, **JOIN, "resample": "keep",
    }  # fmt: skip
    return graph.add("join", "PusaExtendVideo", "Sample", vae=("vae", 0), **models, **words, **(settings | changes))


def transition(graph: Graph, models: dict, words: dict, steps: int, cfg: float, **changes) -> str:
    """New frames between clips; the key of the node."""
    settings = {"overlap": 13, "new_frames": 55, "noise": "0", "seed": 0, "steps": steps, "cfg": cfg, **OFFICIAL, **JOIN}
    return graph.add("join", "PusaTransition", "Sample", vae=("vae", 0), **models, **words, **(settings | changes))


def save_frames(graph: Graph, frames: tuple, larger: float = 1.0, fps: float = 16.0) -> None:
    """Frames as a video file, enlarged if wanted."""
    if larger != 1:
        scale = {"upscale_method": "bicubic", "scale_by": larger}
        frames = graph.add("larger", "ImageScaleBy", "Video", image=frames, **scale), 0
    graph.add("video", "CreateVideo", "Video", images=frames, fps=fps)
    save_video(graph, ("video", 0))


def save_video(graph: Graph, video: tuple) -> None:
    """A video as a file."""
    prefix = f"video/pusa_{graph.name}"
    graph.add("save", "SaveVideo", "Video", video=video, filename_prefix=prefix, format="auto", codec="auto")
