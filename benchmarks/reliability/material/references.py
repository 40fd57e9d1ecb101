"""Graphs whose results are known, to be asked for between others."""

from __future__ import annotations

LORA = "pusa_tiny_lora.safetensors"


def node(class_type: str, **inputs) -> dict:
    """A node in API format."""
    return {"class_type": class_type, "inputs": inputs}


def probe(id: str, output: int = 0) -> dict:
    """A node that tells what comes out of another."""
    return node("ReliabilityProbe", value=[id, output])


LOADERS = {
    "unet": node("UNETLoader", unet_name="pusa_tiny_wan.safetensors", weight_dtype="default"),
    "model": node("PusaLoraLoader", model=["unet", 0], lora_name=LORA, strength=1.4),
    "vae": node("VAELoader", vae_name="pusa_tiny_vae.safetensors"),
    "positive": node("PusaLoadPrompt", prompt_name="pusa_tiny_positive.safetensors"),
    "negative": node("PusaLoadPrompt", prompt_name="pusa_tiny_negative.safetensors"),
}
PROMPTS = {"positive": ["positive", 0], "negative": ["negative", 0]}
SAMPLED = {"seed": 1, "steps": 2, "cfg": 3.0, "sampler_name": "euler"}


def reference(steps: int = 2) -> dict:
    """Image to video with the LoRA, and text to video by ComfyUI's KSampler on the same file without it."""
    return LOADERS | {
        "latent": node("EmptyHunyuanLatentVideo", width=32, height=32, length=9, batch_size=1),
        "picture": node("LoadImage", image="picture_0.png"),
        "condition": node(
            "PusaKeyframes", vae=["vae", 0], latent=["latent", 0], positions="0, last", unit="frame", noise="0.2, 0", fit="crop",
            encode="causal", **{"images.image0": ["picture", 0], "images.image1": ["picture", 0]},
        ),
        "sampler": node(
            "PusaKSampler", model=["model", 0], latent_image=["latent", 0], shift=5.0, scheduler="flow_match", denoise=1.0,
            condition=["condition", 0], **PROMPTS, **(SAMPLED | {"steps": steps}),
        ),
        "core": node(
            "KSampler", model=["unet", 0], latent_image=["latent", 0], scheduler="simple", denoise=1.0, **PROMPTS, **SAMPLED
        ),
        "frames": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "probe": probe("sampler"), "probe_core": probe("core"), "probe_frames": probe("frames"),
    }  # fmt: skip


def extension(**changes) -> dict:
    """A clip from a file made longer in two hops."""
    settings = dict(
        overlap=5, new_frames=8, hops=2, noise="0.2", direction="forwards", seed=1, hop_seed="increment", steps=2, cfg=3.0,
        shift=5.0, sampler_name="euler", scheduler="flow_match", color_match=0.5, cross_fade=0, fps=16.0, resample="keep",
        frames_in="memory",
    )  # fmt: skip
    links = {"model": ["model", 0], "vae": ["vae", 0], "video": ["file", 0], "negative": ["negative", 0]}
    return LOADERS | {
        "file": node("LoadVideo", file="clip.mp4"),
        "extend": node("PusaExtendVideo", **links, **{"positive.prompt0": ["positive", 0]}, **(settings | changes)),
        "probe": probe("extend"),
    }


def transition(**changes) -> dict:
    """A loop of a clip."""
    graph = extension(new_frames=7, **changes)
    inputs = graph["extend"]["inputs"]
    for name in ("hops", "direction", "hop_seed", "positive.prompt0"):
        del inputs[name]
    graph["extend"] = node("PusaTransition", **inputs, positive=["positive", 0])
    return graph


def merged(filename: str, **changes) -> dict:
    """A model file with the LoRA in it."""
    files = {"base_name": "pusa_tiny_wan.safetensors", "lora_name": LORA, "strength": 1.4, "overwrite": True}
    return {"merge": node("PusaMergeLora", filename=filename, **(files | changes)), "probe": probe("merge")}


def stored(prompt_name: str) -> dict:
    """A prompt on the disk."""
    return {
        "positive": LOADERS["positive"],
        "save": node("PusaSavePrompt", conditioning=["positive", 0], prompt_name=prompt_name, overwrite=True),
    }
