"""The node that writes a model file with LoRAs merged into it."""

import os

import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..pusa_model.lora.merge.output import FOLDER, listed_name, output_path
from ..pusa_model.lora.merge.stream import merge
from ..schedulers import InputError
from .loaders import NO_LORA, lora_input, lora_path, model_input, strength_input
from .shared.common import CATEGORY, named_errors


class PusaMergeLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaMergeLora",
            display_name="Merge LoRA (Pusa)",
            category=CATEGORY,
            description=(
                "Writes a new model file with one or two LoRAs merged into it, so that loading needs no LoRA. Works from file "
                "to file in about 1 GB of memory, whatever the size of the model."
            ),
            search_aliases=["merge lora", "bake lora", "fuse lora", "save model with lora", "pusa merge"],
            inputs=[
                model_input("base_name", "The Wan file in models/diffusion_models to start from. It stays as it is."),
                lora_input("lora_name", "The LoRA file in models/loras to merge."),
                strength_input("strength", 1.4),
                io.String.Input(
                    "filename",
                    default="wan_pusa",
                    tooltip="Name of the new file in models/diffusion_models, without suffix. A subfolder is allowed.",
                ),
                io.Boolean.Input(
                    "overwrite", default=False, tooltip="Replace an existing file of this name. Off, that is an error."
                ),
                io.Combo.Input(
                    "lora_name_2",
                    options=[NO_LORA, *folder_paths.get_filename_list("loras")],
                    default=NO_LORA,
                    optional=True,
                    tooltip="A second LoRA to merge, such as a LightX2V file for few steps.",
                ),
                io.Float.Input(
                    "strength_2",
                    optional=True,
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Strength of the second LoRA; distillation LoRAs take 1.0.",
                ),
            ],
            outputs=[io.String.Output("file_name", tooltip="The new file, as the model loaders list it.")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, base_name, lora_name, lora_name_2=NO_LORA, **_) -> list[tuple[float, int]]:
        files = [(FOLDER, base_name), ("loras", lora_name), ("loras", lora_name_2)]
        paths = [folder_paths.get_full_path(folder, name) for folder, name in files if name not in (None, NO_LORA)]
        return [(stat.st_mtime, stat.st_size) for stat in map(os.stat, filter(None, paths))]

    @classmethod
    @named_errors
    def execute(cls, base_name, lora_name, strength, filename, overwrite, lora_name_2=NO_LORA, strength_2=1.0) -> io.NodeOutput:
        base = folder_paths.get_full_path(FOLDER, base_name)
        if base is None:
            raise InputError(f"`base_name`: there is no file {base_name[:100]!r} in models/{FOLDER}. Choose one from the list.")
        loras = [(name, by) for name, by in ((lora_name, strength), (lora_name_2, strength_2)) if name != NO_LORA]
        output = output_path(filename)
        bar = comfy.utils.ProgressBar(1)
        merge(base, [(lora_path(name), by) for name, by in loras], output, overwrite, bar.update_absolute)
        name = listed_name(output)
        return io.NodeOutput(name, ui={"text": (f"Written as models/{FOLDER}/{name}",)})
