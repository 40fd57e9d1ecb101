"""Graphs that show a node rather than a task: any sampler, stored prompts, merging."""

from . import notes, parts
from .graph import Graph
from .wan import NEGATIVE, PICTURES, PROMPT, SIZE

STEPS = 20


def other_graphs() -> list[Graph]:
    """All of them."""
    return [any_sampler(), prompt_files(), merge_lora()]


def any_sampler() -> Graph:
    """SamplerCustomAdvanced on Wan2.1, with a latent that was encoded by hand."""
    graph = Graph("any_sampler")
    unet = parts.file_name("wan21", "diffusion_models")
    graph.add("unet", "UNETLoader", "Model", unet_name=unet, weight_dtype="default")
    lora = {"lora_name": parts.file_name("wan21", "loras"), "strength": 1.4}
    graph.add("model", "PusaLoraLoader", "Model", model=("unet", 0), **lora)
    parts.vae(graph, parts.file_name("wan21", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    latent = parts.empty(graph, *SIZE)
    width, height, _ = SIZE
    graph.add("picture", "LoadImage", "Given frames", title="Picture", image=PICTURES[0])
    scale = {"upscale_method": "lanczos", "width": width, "height": height, "crop": "center"}
    graph.add("scaled", "ImageScale", "Given frames", image=("picture", 0), **scale)
    graph.add("encoded", "VAEEncode", "Given frames", 1, pixels=("scaled", 0), vae=("vae", 0))
    place = {"positions": "0", "noise": "0.2"}
    graph.add("condition", "PusaLatentFrames", "Given frames", 1, latent=latent, frames=("encoded", 0), **place)
    graph.add("sigmas", "PusaScheduler", "Given frames", 1, steps=STEPS, shift=5.0, denoise=1.0)
    parts.plot(graph, ("condition", 0), STEPS, 2, sigmas=("sigmas", 0))
    given = {"model": ("model", 0), "latent": latent, "condition": ("condition", 0)}
    graph.add("applied", "PusaApplyCondition", "Sample", shift=5.0, **given)
    graph.add("guider", "CFGGuider", "Sample", model=("applied", 0), cfg=3.0, **words)
    graph.add("noise", "RandomNoise", "Sample", noise_seed=0)
    graph.add("choice", "KSamplerSelect", "Sample", title="Any sampler", sampler_name="dpmpp_2m")
    sampling = {"noise": ("noise", 0), "guider": ("guider", 0), "sampler": ("choice", 0), "sigmas": ("sigmas", 0)}
    graph.add("sampler", "SamplerCustomAdvanced", "Sample", 1, latent_image=("applied", 1), **sampling)
    graph.add("frames", "VAEDecode", "Video", samples=("sampler", 0), vae=("vae", 0))
    parts.save_frames(graph, ("frames", 0))
    graph.note = notes.any_sampler_note(graph)
    return graph


def prompt_files() -> Graph:
    """Encode and store prompts; beside that, muted, the nodes that load them."""
    graph = Graph("prompt_files", bands=(("Model",), ("Prompt",), ("Store",), ("In other graphs",)))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    for key, name in (("positive", "harbour"), ("negative", "harbour_negative")):
        stored = {"conditioning": words[key], "prompt_name": name, "overwrite": False}
        graph.add(f"store {key}", "PusaSavePrompt", "Store", **stored)
        graph.add(f"load {key}", "PusaLoadPrompt", "In other graphs", muted=True, prompt_name=f"{name}.safetensors")
    graph.note = notes.prompt_files_note(graph)
    return graph


def merge_lora() -> Graph:
    """A model file with the Pusa LoRA in it."""
    graph = Graph("merge_lora")
    names = {"base_name": parts.file_name("wan21", "diffusion_models"), "lora_name": parts.file_name("wan21", "loras")}
    output = {"strength": 1.4, "filename": "wan2.1_t2v_14B_pusa", "overwrite": False}
    graph.add("merged", "PusaMergeLora", "Model", **names, **output, lora_name_2=parts.NO_LORA, strength_2=1.0)
    graph.add("name", "PreviewAny", "Model", 1, title="New file", source=("merged", 0))
    graph.note = notes.merge_note(graph)
    return graph
