"""The node that trains a LoRA inside of ComfyUI, with the loop of the trainer."""

import sys
from importlib.util import find_spec

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import io

from ...nodes.shared.common import CATEGORY, named_errors
from ...nodes.shared.model_files import NO_LORA, file_state
from ...schedulers import InputError
from .run import run_folder, trained, worded

PACKAGES = ("accelerate", "peft")
INSTALL = 'pip install "accelerate>=1.10" "peft>=0.18"'


class PusaTrainLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaTrainLora",
            display_name="Train LoRA (Pusa)",
            category=CATEGORY,
            description=(
                "Trains a LoRA on clips of a graph, with a noise level of its own for every latent frame, as Pusa was trained. For "
                "small runs: the command line of the same trainer reads clips from disk and uses several GPUs."
            ),
            search_aliases=["train lora", "finetune", "fine-tune", "train pusa", "training", "lora training"],
            is_input_list=True,
            is_experimental=True,
            inputs=[
                io.Model.Input(
                    "model", tooltip="The text-to-video model to train on, with its LoRAs as part of it. It stays as it is."
                ),
                io.Latent.Input("latents", tooltip="The clips: latents of VAE Encode, of one size or several."),
                io.Conditioning.Input("positive", tooltip="The prompts: one for each clip in the same order, or one for all."),
                io.Int.Input("steps", default=100, min=1, max=100_000, tooltip="Optimiser steps. Pusa took 900."),
                io.Float.Input(
                    "learning_rate",
                    default=1e-4,
                    min=1e-7,
                    max=1.0,
                    step=1e-7,
                    tooltip="Of AdamW. Pusa took 0.00001 with rank 512; small runs need more.",
                ),
                io.Int.Input("rank", default=32, min=1, max=1024, tooltip="Of a new LoRA; one to begin from keeps its own."),
                io.Combo.Input(
                    "init_lora",
                    options=[NO_LORA, *folder_paths.get_filename_list("loras")],
                    default=NO_LORA,
                    tooltip="A LoRA to begin from, such as Pusa's; none begins a new one.",
                ),
                io.Int.Input(
                    "training_seed",  # ComfyUI's page draws what is called `seed` anew for each run, which would be another one
                    default=0,
                    min=0,
                    max=999_999,
                    tooltip="Of the order, the levels, the noise and new weights.",
                ),
                io.String.Input(
                    "run_name",
                    default="my_lora",
                    tooltip="Name of the run. Its checkpoints lie in output/pusa_training under it.",
                ),
                io.Boolean.Input(
                    "resume",
                    default=True,
                    tooltip="Go on from the newest checkpoint of this name, if there is one: after a cancel, or for more steps.",
                ),
                io.Int.Input("batch_size", default=1, min=1, max=1024, advanced=True, tooltip="Clips of one size per pass."),
                io.Int.Input(
                    "grad_accumulation_steps", default=1, min=1, max=1024, advanced=True, tooltip="Passes per optimiser step."
                ),
                io.Float.Input(
                    "p_condition",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Share of clips shown as they are sampled: given frames clean, the others at one level. Pusa took 0.",
                ),
                io.Int.Input(
                    "save_every",
                    default=100,
                    min=0,
                    max=100_000,
                    advanced=True,
                    tooltip="Steps between checkpoints; 0: at the end.",
                ),
                io.Boolean.Input(
                    "gradient_checkpointing", default=True, advanced=True, tooltip="Much less memory, a third more time."
                ),
                io.Int.Input(
                    "blocks_on_cpu",
                    default=0,
                    min=0,
                    max=100,
                    advanced=True,
                    tooltip="Blocks of the model that stay in RAM until they are used; with gradient_checkpointing only.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Custom("LORA_MODEL").Output("lora", tooltip="For Save LoRA Weights, or Load LoRA Model."),
                io.Custom("LOSS_MAP").Output("loss_map", tooltip="For Plot Loss Graph."),
                io.Int.Output("steps_out", display_name="steps", tooltip="Optimiser steps, those before a resume too."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, init_lora, **_) -> list[str | None]:
        return [file_state("loras", name) for name in init_lora]

    @classmethod
    def validate_inputs(cls) -> bool | str:
        return lacking() or True

    @classmethod
    @named_errors
    def execute(
        cls, model, latents, positive, steps, learning_rate, rank, init_lora, training_seed, run_name, resume, batch_size,
        grad_accumulation_steps, p_condition, save_every, gradient_checkpointing, blocks_on_cpu,
    ) -> io.NodeOutput:  # fmt: skip
        if words := lacking():
            raise InputError(words)
        name, lora = one("run_name", run_name).strip(), one("init_lora", init_lora)
        folder = run_folder(name)
        on_cpu = comfy.model_management.get_torch_device().type == "cpu"
        with torch.inference_mode(False), torch.enable_grad(), worded(folder, name):
            from ..settings import Settings

            settings = Settings(
                steps=one("steps", steps),
                batch_size=one("batch_size", batch_size),
                accumulate=one("grad_accumulation_steps", grad_accumulation_steps),
                learning_rate=one("learning_rate", learning_rate),
                seed=one("training_seed", training_seed),
                p_condition=one("p_condition", p_condition),
                save_every=one("save_every", save_every),
                gradient_checkpointing=one("gradient_checkpointing", gradient_checkpointing),
                blocks_on_cpu=one("blocks_on_cpu", blocks_on_cpu),
                mixed_precision="no" if on_cpu else "bf16",
                activations="fp32" if on_cpu else "bf16",
            )
            how = "auto" if one("resume", resume) else None
            try:
                made = trained(cls, one("model", model), latents, positive, settings, one("rank", rank), lora, folder, how)
            finally:
                comfy.model_management.soft_empty_cache()
        return io.NodeOutput(*made)


def lacking() -> str | None:
    """What to install, in words, where a package of the trainer is missing."""
    missing = [name for name in PACKAGES if (sys.modules[name] if name in sys.modules else find_spec(name)) is None]
    if not missing:
        return None
    return f"training needs {' and '.join(missing)} in ComfyUI's Python, which it does not bring. Install with: {INSTALL}"


def one(name: str, values: list):
    """The value of an input that has one, of the list that this node gets for each."""
    if len(values) > 1:
        raise InputError(f"`{name}` has {len(values)} values; one is taken. Only `latents` and `positive` are lists.")
    return values[0]
