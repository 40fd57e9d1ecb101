"""Nodes that load what makes a Wan model a Pusa model."""

from collections.abc import Callable, Sequence
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..pusa_model.families.fps import RATES
from ..pusa_model.guards import check_pair
from ..pusa_model.lora.load import load_lora
from ..schedulers import InputError
from .shared.common import CATEGORY, named_errors, say, warner
from .shared.kept import Kept
from .shared.model_files import NO_LORA, Files, file_states, load, lora_path, widgets_named

WEIGHT_DTYPES = ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]
STRENGTH_TIP = (
    "The official lora_alpha: 1.4 for Wan2.1, 1.5 (high) and 1.4 (low) for Wan2.2. Higher follows the given frames more closely "
    "and moves less."
)


def model_input(id: str, tooltip: str) -> io.Input:
    return io.Combo.Input(id, options=folder_paths.get_filename_list("diffusion_models"), tooltip=tooltip)


def lora_input(id: str, tooltip: str, others: Sequence[str] = ()) -> io.Input:
    return io.Combo.Input(id, options=[*folder_paths.get_filename_list("loras"), *others], tooltip=tooltip)


def strength_input(id: str, default: float, tooltip: str = STRENGTH_TIP) -> io.Input:
    return io.Float.Input(id, default=default, min=-10.0, max=10.0, step=0.05, tooltip=tooltip)


def dtype_input() -> io.Input:
    tip = "Precision of the weights in memory, as in Load Diffusion Model; default keeps the file's."
    return io.Combo.Input("weight_dtype", options=WEIGHT_DTYPES, default="default", advanced=True, tooltip=tip)


def distill_inputs(suffix: str = "", which: str = "") -> list[io.Input]:
    options = [NO_LORA, *folder_paths.get_filename_list("loras")]
    name_tip = f"Optional step-distillation LoRA{which} (LightX2V, Lightning); with it use 4 steps and cfg 1."
    return [
        io.Combo.Input(f"distill_lora_name{suffix}", options=options, default=NO_LORA, optional=True, tooltip=name_tip),
        io.Float.Input(
            f"distill_strength{suffix}",
            optional=True,
            default=1.0,
            min=-10.0,
            max=10.0,
            step=0.05,
            tooltip=f"Strength of the step-distillation LoRA{which}.",
        ),
    ]


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
                io.Model.Input("model", tooltip="A Wan text-to-video model: Wan2.1-T2V, one expert of Wan2.2-T2V-A14B, or VACE."),
                lora_input(
                    "lora_name",
                    "The LoRA file in models/loras. For Wan2.2, the HIGH file on the high-noise model, LOW on the other.",
                ),
                strength_input("strength", 1.4, STRENGTH_TIP + " Distillation LoRAs take 1.0."),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[io.Model.Output("model_out", display_name="model", tooltip="The model with the LoRA applied.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **widgets) -> list[str | None]:
        return file_states(**widgets)

    @classmethod
    @named_errors
    def execute(cls, model, lora_name, strength) -> io.NodeOutput:
        path = lora_path(lora_name)
        return io.NodeOutput(load_lora(model, path, strength, warner(cls)))


KEPT = Kept()


class ModelLoader(io.ComfyNode):
    """A loader that reads a model file once while only LoRAs and their strengths change."""

    def __init__(self):
        super().__init__()
        KEPT.end_with(self)

    @classmethod
    def fingerprint_inputs(cls, **widgets) -> list[str | None]:
        return file_states(**widgets)

    @classmethod
    def keep(cls, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """What this node of a graph kept by that key, else made; a program that calls the class has no node to keep it with."""
        node = cls.hidden and cls.hidden.unique_id
        return KEPT.get((node, name), key, make) if node else make()


class PusaModelLoader(ModelLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaModelLoader",
            display_name="Load Model (Pusa)",
            category=CATEGORY,
            description=(
                "Loads a Wan text-to-video model with its Pusa LoRA, and a distillation LoRA if you want one, in one node; Wan2.2 "
                "5B, SkyReels-V2 DF and Mochi 1 with Pusa V0.5 without."
            ),
            search_aliases=[
                "load wan",
                "diffusion model loader",
                "unet loader",
                "pusa model",
                "wan2.1",
                "wan2.2 5b",
                "skyreels",
                "vace",
                "mochi",
            ],
            inputs=[
                model_input("unet_name", "The Wan text-to-video file in models/diffusion_models, or pusa_v0_dit for Mochi."),
                dtype_input(),
                lora_input(
                    "lora_name",
                    "The Pusa LoRA file in models/loras; none for Wan2.2 5B, SkyReels-V2 DF and Mochi.",
                    others=[NO_LORA],
                ),
                strength_input("strength", 1.4),
                *distill_inputs(),
                io.Combo.Input(
                    "fps",
                    options=list(map(str, RATES)),
                    default=str(RATES[0]),
                    optional=True,
                    tooltip="Frames per second that SkyReels-V2 DF 1.3B is told; other models are told none.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[io.Model.Output("model", tooltip="The model with the LoRAs applied.")],
        )

    @classmethod
    @named_errors
    def execute(
        cls, unet_name, weight_dtype, lora_name, strength, distill_lora_name=NO_LORA, distill_strength=1.0, fps=str(RATES[0])
    ) -> io.NodeOutput:
        files = Files(unet_name, weight_dtype, lora_name, strength, distill_lora_name, distill_strength, int(fps))
        return io.NodeOutput(load(files, warner(cls), keep=cls.keep, tell=lambda text: say(cls, text)))


class PusaModelPairLoader(ModelLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaModelPairLoader",
            display_name="Load Model Pair (Pusa)",
            category=CATEGORY,
            description="Loads both experts of Wan2.2-T2V-A14B, each with its own Pusa LoRA and, if wanted, distillation LoRA.",
            search_aliases=["wan2.2", "high low noise", "two experts", "load wan pair", "dual model"],
            inputs=[
                model_input("unet_name_high", "The high-noise file of Wan2.2-T2V-A14B in models/diffusion_models."),
                model_input("unet_name_low", "The low-noise file of the same model."),
                dtype_input(),
                lora_input("lora_name_high", "The Pusa LoRA for the high-noise expert."),
                strength_input("strength_high", 1.5),
                lora_input("lora_name_low", "The Pusa LoRA for the low-noise expert."),
                strength_input("strength_low", 1.4),
                *distill_inputs("_high", " for the high-noise expert"),
                *distill_inputs("_low", " for the low-noise expert"),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Model.Output("model", tooltip="The high-noise expert; connect it to `model`."),
                io.Model.Output("model_low", tooltip="The low-noise expert; connect it to `model_low`."),
            ],
        )

    @classmethod
    @named_errors
    def execute(
        cls,
        unet_name_high,
        unet_name_low,
        weight_dtype,
        lora_name_high,
        strength_high,
        lora_name_low,
        strength_low,
        distill_lora_name_high=NO_LORA,
        distill_strength_high=1.0,
        distill_lora_name_low=NO_LORA,
        distill_strength_low=1.0,
    ) -> io.NodeOutput:
        if unet_name_high == unet_name_low:
            raise InputError(
                "`unet_name_high` and `unet_name_low` are the same model. Choose the high-noise and the low-noise file of Wan2.2; "
                "Wan2.1 is loaded by Load Model (Pusa)."
            )
        high = Files(unet_name_high, weight_dtype, lora_name_high, strength_high, distill_lora_name_high, distill_strength_high)
        low = Files(unet_name_low, weight_dtype, lora_name_low, strength_low, distill_lora_name_low, distill_strength_low)
        pair = [load(files, warner(cls), suffix, cls.keep) for files, suffix in ((high, "_high"), (low, "_low"))]
        with widgets_named(model="unet_name_high", model_low="unet_name_low"):
            check_pair(*pair)
        return io.NodeOutput(*pair)
