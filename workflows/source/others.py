"""Graphs that show a node rather than a task: any sampler, stored prompts, merging, training."""

from . import parts
from .graph import SIZE as SIZE_GROUP
from .graph import Graph
from .wan import BEFORE, NEGATIVE, PICTURES, PROMPT, SIZE
from .words import notes

STEPS = 20
RUN = {
    "steps": 100, "learning_rate": 1e-4, "rank": 32, "training_seed": 0, "run_name": "my_lora", "resume": True, "batch_size": 1,
    "grad_accumulation_steps": 1, "p_condition": 0.0, "save_every": 100, "gradient_checkpointing": True, "blocks_on_cpu": 0,
}  # fmt: skip
TRAINING = ((("Model", SIZE_GROUP), ("Prompt",), ("Train",), ("Sample",), ("Video",)), ("Clips", "Trained"))
ROWS = ((("Model", SIZE_GROUP), ("Prompt",), ("Guidance",), ("Sample",), ("Video",)), ("Given frames",))


def other_graphs() -> list[Graph]:
    """All of them."""
    return [any_sampler(), prompt_files(), merge_lora(), train_lora()]


def any_sampler() -> Graph:
    """SamplerCustomAdvanced on Wan2.1, with a latent that was encoded by hand."""
    graph = Graph("any_sampler", rows=ROWS, note_below=True)
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
    graph.add("scaled", "ImageScale", "Given frames", 1, image=("picture", 0), **scale)
    graph.add("encoded", "VAEEncode", "Given frames", 2, pixels=("scaled", 0), vae=("vae", 0))
    place = {"positions": "0", "noise": "0.2"}
    graph.add("condition", "PusaLatentFrames", "Given frames", 3, latent=latent, frames=("encoded", 0), **place)
    graph.add("sigmas", "PusaScheduler", "Given frames", 3, steps=STEPS, shift=5.0, denoise=1.0)
    parts.plot(graph, ("condition", 0), STEPS, sigmas=("sigmas", 0))
    given = {"model": ("model", 0), "latent": latent, "condition": ("condition", 0)}
    graph.add("applied", "PusaApplyCondition", "Guidance", shift=5.0, **given)
    graph.add("guider", "CFGGuider", "Guidance", model=("applied", 0), cfg=3.0, **words)
    graph.add("noise", "RandomNoise", "Guidance", noise_seed=0)
    graph.add("choice", "KSamplerSelect", "Guidance", title="Any sampler", sampler_name="dpmpp_2m")
    sampling = {"noise": ("noise", 0), "guider": ("guider", 0), "sampler": ("choice", 0), "sigmas": ("sigmas", 0)}
    graph.add("sampler", "SamplerCustomAdvanced", "Sample", latent_image=("applied", 1), **sampling)
    graph.add("frames", "VAEDecode", "Video", samples=("sampler", 0), vae=("vae", 0))
    parts.save_frames(graph, ("frames", 0))
    graph.narrow(120, "scaled")
    graph.narrow(60, "applied", "guider", "noise", "choice", "condition", "sigmas")
    graph.note = notes.any_sampler_note(graph)
    return graph


def prompt_files() -> Graph:
    """Encode and store prompts; beside that, muted, the nodes that load them."""
    graph = Graph("prompt_files", rows=((("Model",), ("Prompt",), ("Store",), ("In other graphs",)), ()))
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


def train_lora() -> Graph:
    """The Pusa LoRA trained further on a clip, and sampled with at once."""
    graph = Graph("train_lora", rows=TRAINING, note_below=True)
    graph.add("model", "UNETLoader", "Model", unet_name=parts.file_name("wan21", "diffusion_models"), weight_dtype="default")
    parts.vae(graph, parts.file_name("wan21", "vae"))
    words = parts.prompts(graph, PROMPT, NEGATIVE)
    latent = parts.empty(graph, *SIZE)
    width, height, _ = SIZE
    graph.add("example", "LoadVideo", "Clips", title="Clip", file=BEFORE)
    graph.add("example parts", "GetVideoComponents", "Clips", 1, video=("example", 0))
    scale = {"upscale_method": "lanczos", "width": width, "height": height, "crop": "center"}
    graph.add("scaled", "ImageScale", "Clips", 1, image=("example parts", 0), **scale)
    graph.add("encoded", "VAEEncode", "Train", pixels=("scaled", 0), vae=("vae", 0))
    given = {"model": ("model", 0), "latents": ("encoded", 0), "positive": words["positive"]}
    graph.add("train", "PusaTrainLora", "Train", **given, init_lora=parts.file_name("wan21", "loras"), **RUN)
    graph.add("lora file", "SaveLoRA", "Trained", lora=("train", 0), prefix="loras/my_lora", steps=("train", 2))
    graph.add("plot", "LossGraphNode", "Trained", 1, loss=("train", 1), filename_prefix="my_lora")
    graph.add("with lora", "LoraModelLoader", "Sample", model=("model", 0), lora=("train", 0), strength_model=1.0, bypass=False)
    parts.save_frames(graph, parts.sample(graph, {"model": ("with lora", 0)}, words, latent, STEPS, 5.0))
    graph.narrow(90, "scaled")
    graph.narrow(50, "positive", "negative")
    graph.narrow(30, "example", "example parts", "train")
    graph.note = notes.train_note(graph)
    return graph
