"""Nodes that load what makes a Wan model a Pusa model."""

import folder_paths
from comfy_api.latest import io

from ..pusa_model.lora import load_lora
from .common import CATEGORY, named_errors


class PusaLoraLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaLoraLoader",
            display_name="Load Pusa LoRA",
            category=CATEGORY,
            description=(
                "Adds the Pusa LoRA to a Wan text-to-video model. Reads the official files and every conversion of them, and "
                "stops with an error when a file does not fit the model instead of going on without it."
            ),
            search_aliases=["pusa", "lora loader", "pusa lora", "vectorized timestep", "lightx2v lora"],
            inputs=[
                io.Model.Input("model", tooltip="A Wan text-to-video model: Wan2.1-T2V, or one expert of Wan2.2-T2V-A14B."),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list("loras"),
                    tooltip="The LoRA file in models/loras. For Wan2.2, the HIGH file on the high-noise model, LOW on the other.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.4,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip=(
                        "The official lora_alpha: 1.4 for Wan2.1, 1.5 (high) and 1.4 (low) for Wan2.2. Higher follows the "
                        "condition frames more closely and moves less. Distillation LoRAs take 1.0."
                    ),
                ),
            ],
            outputs=[io.Model.Output("model_out", display_name="model", tooltip="The model with the LoRA applied.")],
        )

    @classmethod
    @named_errors
    def execute(cls, model, lora_name, strength) -> io.NodeOutput:
        return io.NodeOutput(load_lora(model, folder_paths.get_full_path_or_raise("loras", lora_name), strength))
