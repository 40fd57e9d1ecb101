"""The tasks of the embedded model as graphs in API format."""

MODELS = {
    "unet_name": "pusa_nano_wan.safetensors",
    "lora_name": "pusa_nano_lora.safetensors",
    "vae_name": "pusa_nano_vae.safetensors",
}
SIDE, LENGTH, ENLARGE = 64, 33, 4
STRENGTH = 1.4  # of the LoRA
TASKS = {
    "t2v": "a video from words alone",
    "i2v": "a picture comes alive",
    "start-end": "from a first picture to a last one",
    "keyframes": "through three pictures",
    "extend": "13 frames of a clip go on",
    "prepend": "what came before 9 frames of a clip",
    "transition": "from the end of one clip to the start of another",
    "loop": "from the end of a clip back to its start",
}


def node(class_type: str, **inputs) -> dict:
    """One node of a graph."""
    return {"class_type": class_type, "inputs": inputs}


def task_graph(task: str, seed: int = 0, steps: int = 10) -> dict:
    """The graph of a task, on the files of assets/nano.

    Args:
        task: one of TASKS.
        seed: of the noise.
        steps: sampling steps.
    """
    graph = {
        "unet": node("UNETLoader", unet_name=MODELS["unet_name"], weight_dtype="default"),
        "model": node("PusaLoraLoader", model=["unet", 0], lora_name=MODELS["lora_name"], strength=STRENGTH),
        "vae": node("VAELoader", vae_name=MODELS["vae_name"]),
        "positive": node("PusaLoadPrompt", prompt_name="nano_positive.safetensors"),
        "negative": node("PusaLoadPrompt", prompt_name="nano_negative.safetensors"),
        "larger": node("ImageScaleBy", image=["frames", 0], upscale_method="bicubic", scale_by=float(ENLARGE)),
        "video": node("CreateVideo", images=["larger", 0], fps=16.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix=f"video/pusa_{task}", format="mp4", codec="h264"),
    }
    settings = dict(
        model=["model", 0], negative=["negative", 0], seed=seed, steps=steps, cfg=3.0, shift=5.0, sampler_name="euler",
        scheduler="flow_match",
    )  # fmt: skip
    return graph | (JOINED[task](settings) if task in JOINED else sampled(CONDITIONS[task](), settings))


def sampled(condition: dict, settings: dict) -> dict:
    """Sampling of one clip, with nodes that make a condition or without."""
    settings = settings | {"positive": ["positive", 0], "latent_image": ["empty", 0], "denoise": 1.0}
    if condition:
        settings["condition"] = ["condition", 0]
    return condition | {
        "empty": node("EmptyHunyuanLatentVideo", width=SIDE, height=SIDE, length=LENGTH, batch_size=1),
        "sampler": node("PusaKSampler", **settings),
        "frames": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
    }


def pictures(*frames: int, noise: str = "0") -> dict:
    """Pictures of the clip at these frames, as keyframes."""
    loaded = {f"picture{number}": node("LoadImage", image=f"nano_{frame:02}.png") for number, frame in enumerate(frames)}
    images = {f"images.image{number}": [name, 0] for number, name in enumerate(loaded)}
    keyframes = node(
        "PusaKeyframes",
        vae=["vae", 0],
        latent=["empty", 0],
        positions=", ".join(map(str, frames)),
        unit="frame",
        noise=noise,
        fit="crop",
        encode="causal",
        **images,
    )
    return loaded | {"condition": keyframes}


def clip(name: str) -> dict:
    """The frames of a clip at the size of the model, as the node of its name."""
    return {
        f"{name} file": node("LoadVideo", file=f"nano_{name}.mp4"),
        f"{name} parts": node("GetVideoComponents", video=[f"{name} file", 0]),
        name: node("ImageScale", image=[f"{name} parts", 0], upscale_method="area", width=SIDE, height=SIDE, crop="disabled"),
    }


def join(class_type: str, name: str, settings: dict, **inputs) -> dict:
    """A clip, and the node that makes it longer; its output 0 is all frames."""
    settings = settings | dict(vae=["vae", 0], video=[name, 0], color_match=0.0, cross_fade=0, fps=16.0, frames_in="memory")
    return clip(name) | {"frames": node(class_type, **settings, **inputs)}


def extend(settings: dict, name: str, direction: str, overlap: int) -> dict:
    """A clip that goes on, or what came before it, in one window."""
    return join(
        "PusaExtendVideo",
        name,
        settings,
        **{"positive.prompt0": ["positive", 0]},
        overlap=overlap,
        new_frames=LENGTH - overlap,
        hops=1,
        noise="0.0, 0.3, 0.4, 0.5",
        direction=direction,
        hop_seed="increment",
        resample="keep",
    )


def transition(settings: dict, new_frames: int, **inputs) -> dict:
    """What leads from the end of a clip to the start of another, or to its own."""
    inputs = inputs | {"positive": ["positive", 0], "overlap": 9, "noise": "0"}
    return join("PusaTransition", "begins", settings, new_frames=new_frames, **inputs)


CONDITIONS = {
    "t2v": dict,
    "i2v": lambda: pictures(0),
    "start-end": lambda: pictures(0, 32),
    "keyframes": lambda: pictures(0, 16, 32),
}
JOINED = {
    "extend": lambda settings: extend(settings, "begins", "forwards", 13),
    "prepend": lambda settings: extend(settings, "ends", "backwards", 9),
    "transition": lambda settings: clip("ends") | transition(settings, 11, video_after=["ends", 0]),
    "loop": lambda settings: transition(settings, 15),
}
