"""The tasks of the embedded model as graphs in API format."""

MODELS = {
    "unet_name": "pusa_nano_wan.safetensors",
    "lora_name": "pusa_nano_lora.safetensors",
    "vae_name": "pusa_nano_vae.safetensors",
}
SIDE, LENGTH, ENLARGE = 64, 33, 4
TASKS = {
    "t2v": "a video from words alone",
    "i2v": "a picture comes alive",
    "start-end": "from a first picture to a last one",
    "keyframes": "through three pictures",
    "extend": "13 frames of a clip go on",
    "transition": "from the end of one clip to the start of another",
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
        "model": node("PusaLoraLoader", model=["unet", 0], lora_name=MODELS["lora_name"], strength=1.4),
        "vae": node("VAELoader", vae_name=MODELS["vae_name"]),
        "positive": node("PusaLoadPrompt", prompt_name="nano_positive.safetensors"),
        "negative": node("PusaLoadPrompt", prompt_name="nano_negative.safetensors"),
        "empty": node("EmptyHunyuanLatentVideo", width=SIDE, height=SIDE, length=LENGTH, batch_size=1),
        "sampler": node(
            "PusaKSampler",
            model=["model", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["empty", 0],
            seed=seed,
            steps=steps,
            cfg=3.0,
            shift=5.0,
            sampler_name="euler",
            scheduler="flow_match",
            denoise=1.0,
        ),
        "frames": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "larger": node("ImageScaleBy", image=["frames", 0], upscale_method="bicubic", scale_by=float(ENLARGE)),
        "video": node("CreateVideo", images=["larger", 0], fps=16.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix=f"video/pusa_{task}", format="mp4", codec="h264"),
    }
    conditions = CONDITIONS[task]()
    if conditions:
        graph |= conditions
        graph["sampler"]["inputs"]["condition"] = ["condition", 0]
    return graph


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
        encode="still",
        **images,
    )
    return loaded | {"condition": keyframes}


def clip(name: str, take: str, frames: int, place: str, noise: str, onto: list | None = None) -> dict:
    """Frames of a clip at one end of the target, behind the condition `onto`."""
    loaded, parts = f"{name} file", f"{name} frames"
    inputs = dict(vae=["vae", 0], latent=["empty", 0], video=[parts, 0], take=take, frames=frames, place=place, noise=noise)
    return {
        loaded: node("LoadVideo", file=f"nano_{name}.mp4"),
        parts: node("GetVideoComponents", video=[loaded, 0]),
        f"{name} condition" if onto is None else "condition": node(
            "PusaVideoFrames", fit="crop", **inputs, **({} if onto is None else {"condition": onto})
        ),
    }


def extend() -> dict:
    """The clip that begins goes on."""
    graph = clip("begins", "end", 13, "start", "0.0, 0.3, 0.4, 0.5")
    return {("condition" if name == "begins condition" else name): made for name, made in graph.items()}


def transition() -> dict:
    """What lies between two clips."""
    first = clip("begins", "end", 9, "start", "0")
    return first | clip("ends", "start", 9, "end", "0", onto=["begins condition", 0])


CONDITIONS = {
    "t2v": dict,
    "i2v": lambda: pictures(0),
    "start-end": lambda: pictures(0, 32),
    "keyframes": lambda: pictures(0, 16, 32),
    "extend": extend,
    "transition": transition,
}
