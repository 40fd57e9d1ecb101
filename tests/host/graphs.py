"""API graphs of every task on the tiny models."""

LENGTH, STEPS = 17, 4


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def picture(name):
    return {f"picture_{name}": node("LoadImage", image=f"{name}.png")}


def clip(name="clip"):
    return {"file": node("LoadVideo", file=f"{name}.mp4"), "clip": node("GetVideoComponents", video=["file", 0])}


def keyframes(names, positions, noise, **changes):
    images = {f"images.image{i}": [f"picture_{name}", 0] for i, name in enumerate(names)}
    settings = dict(positions=positions, unit="frame", noise=noise, fit="crop", encode="still")
    condition = node("PusaKeyframes", vae=["vae", 0], latent=["empty", 0], **images, **(settings | changes))
    return {"condition": condition} | {key: value for name in names for key, value in picture(name).items()}


def video_frames(key="condition", **changes):
    settings = dict(take="end", frames=5, place="start", noise="0.0..0.5", fit="crop")
    return {key: node("PusaVideoFrames", vae=["vae", 0], latent=["empty", 0], video=["clip", 0], **(settings | changes))}


def base_graph(pair=False, **sampler):
    graph = {
        "unet": node("UNETLoader", unet_name="pusa_tiny_wan.safetensors", weight_dtype="default"),
        "model": node("PusaLoraLoader", model=["unet", 0], lora_name="pusa_tiny_lora.safetensors", strength=1.4),
        "vae": node("VAELoader", vae_name="pusa_tiny_vae.safetensors"),
        "positive": node("PusaLoadPrompt", prompt_name="pusa_tiny_positive.safetensors"),
        "negative": node("PusaLoadPrompt", prompt_name="pusa_tiny_negative.safetensors"),
        "empty": node("EmptyHunyuanLatentVideo", width=64, height=64, length=LENGTH, batch_size=1),
        "frames": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "video": node("CreateVideo", images=["frames", 0], fps=16.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="video/test", format="mp4", codec="h264"),
    }
    settings = dict(
        seed=1,
        steps=STEPS,
        cfg=1.0,
        shift=5.0,
        sampler_name="euler",
        scheduler="flow_match",
        denoise=1.0,
        model=["model", 0],
        positive=["positive", 0],
        negative=["negative", 0],
        latent_image=["empty", 0],
    )
    if pair:
        graph["unet_low"] = node("UNETLoader", unet_name="pusa_tiny_wan_low.safetensors", weight_dtype="default")
        graph["low"] = node("PusaLoraLoader", model=["unet_low", 0], lora_name="pusa_tiny_lora.safetensors", strength=1.4)
        settings |= {"model_low": ["low", 0], "boundary": 0.875, "cfg_low": 0.0}
    return graph | {"sampler": node("PusaKSampler", **(settings | sampler))}


def conditioned(*parts, **changes):
    graph = base_graph(**({"condition": ["condition", 0]} | changes))
    for part in parts:
        graph |= part
    return graph


def any_sampler(*parts):
    """The same through Apply Condition (Pusa) and ComfyUI's SamplerCustomAdvanced."""
    graph = conditioned(*parts)
    applied = dict(model=["model", 0], latent=["empty", 0], condition=["condition", 0], shift=5.0)
    return graph | {
        "apply": node("PusaApplyCondition", **applied),
        "guider": node("CFGGuider", model=["apply", 0], positive=["positive", 0], negative=["negative", 0], cfg=3.0),
        "select": node("KSamplerSelect", sampler_name="dpmpp_2m"),
        "noise": node("RandomNoise", noise_seed=1),
        "sigmas": node("PusaScheduler", steps=STEPS, shift=5.0, denoise=1.0),
        "plot": node("PusaConditionPlot", condition=["condition", 0], steps=STEPS, shift=5.0, sigmas=["sigmas", 0]),
        "sampler": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["select", 0],
            sigmas=["sigmas", 0],
            latent_image=["apply", 1],
        ),
    }


def paired(*parts):
    """Wan2.2 through Load Model Pair (Pusa)."""
    graph = conditioned(*parts, model_low=["model", 1])
    files = dict(unet_name_high="pusa_tiny_wan.safetensors", unet_name_low="pusa_tiny_wan_low.safetensors")
    loras = dict(lora_name_high="pusa_tiny_lora.safetensors", lora_name_low="pusa_tiny_lora.safetensors")
    graph["model"] = node("PusaModelPairLoader", **files, **loras, weight_dtype="default", strength_high=1.5, strength_low=1.4)
    return graph


TASKS = {
    "text to video": base_graph(),
    "image to video": conditioned(keyframes(["start"], "0", "0.2")),
    "start and end": conditioned(keyframes(["start", "end"], "0, last", "0.2, 0.5", encode="causal")),
    "keyframes": conditioned(keyframes(["start", "middle", "end"], "0, 8, 16", "0.2, 0.4, 0.6", fit="pad")),
    "completion": conditioned(
        clip(), video_frames("head", take="start"), video_frames(place="end", condition=["head", 0], noise="0.3")
    ),
    "extension": conditioned(clip(), video_frames(frames=13, noise="0.0, 0.3, 0.4, 0.5")),
    "transition": conditioned(
        clip(), video_frames("head"), video_frames(take="start", place="end", condition=["head", 0], noise="0")
    ),
    "image to video, two experts": conditioned(keyframes(["start"], "0", "0.2"), pair=True),
    "image to video, pair loader": paired(keyframes(["start"], "0", "0.2")),
    "any sampler": any_sampler(keyframes(["start"], "0", "0.2")),
}
