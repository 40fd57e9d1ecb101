"""Nodes that store encoded prompts, so that a queue can run without the text encoder."""

import os

from comfy_api.latest import io

from ..pusa_model.prompts import stored as prompts
from .shared.common import CATEGORY, named_errors


class PusaSavePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaSavePrompt",
            display_name="Save Prompt (Pusa)",
            category=CATEGORY,
            description=(
                "Stores an encoded prompt in models/prompts. Load Prompt (Pusa) reads it back, and the 11 GB text encoder "
                "need not be loaded again."
            ),
            search_aliases=["save conditioning", "cache text encoder", "store prompt", "prompt embedding"],
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The encoded prompt, as CLIP Text Encode makes it."),
                io.String.Input("prompt_name", default="prompt", tooltip="File name in models/prompts, without suffix."),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace a stored prompt of this name that holds something else. Off, that is an error.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    @named_errors
    def execute(cls, conditioning, prompt_name, overwrite) -> io.NodeOutput:
        path = prompts.save_prompt(conditioning, prompt_name, overwrite)
        name = prompt_name.strip().removesuffix(path.suffix)
        return io.NodeOutput(ui={"text": (f"Stored as models/{prompts.FOLDER}/{name}{path.suffix}",)})


class PusaLoadPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaLoadPrompt",
            display_name="Load Prompt (Pusa)",
            category=CATEGORY,
            description="Reads an encoded prompt that Save Prompt (Pusa) stored, without loading a text encoder.",
            search_aliases=["load conditioning", "cached prompt", "prompt embedding", "skip text encoder"],
            inputs=[io.Combo.Input("prompt_name", options=prompts.stored_prompts(), tooltip="A stored prompt in models/prompts.")],
            outputs=[io.Conditioning.Output("conditioning", tooltip="The encoded prompt, as it was stored.")],
        )

    @classmethod
    def fingerprint_inputs(cls, prompt_name) -> tuple[float, int]:
        stat = os.stat(prompts.prompt_path(prompt_name))
        return stat.st_mtime, stat.st_size

    @classmethod
    @named_errors
    def execute(cls, prompt_name) -> io.NodeOutput:
        return io.NodeOutput(prompts.load_prompt(prompts.prompt_path(prompt_name)))
