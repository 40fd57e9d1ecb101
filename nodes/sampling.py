"""Nodes that sample with one timestep per latent frame."""

import comfy.samplers
from comfy_api.latest import io

from ..pusa_model import sampling
from ..pusa_model.actors import raylight
from ..pusa_model.families.lookup import counted_otherwise, of_model
from ..pusa_model.guards import remarks
from ..schedulers import flow_match_sigmas
from .shared.common import CATEGORY, PusaCondition, condition_input, named_errors, warner

SHIFT_TIP = (
    "Timestep shift of the model; replaces an earlier one. Pusa uses 5, more keeps the noise high for longer. Mochi's scheduler "
    "linear_quadratic takes none."
)
RayActors = io.Custom("RAY_ACTORS")  # raylight's
ONE_MODEL_TIP = "A Wan model with the Pusa LoRA; Wan2.2 5B, SkyReels-V2 DF and Mochi (Pusa V0.5) need none."
MODEL_TIP = (
    "The Wan model with the Pusa LoRA; Wan2.2 5B, SkyReels-V2 DF and Mochi (Pusa V0.5) need none. For Wan2.2 A14B the high-noise "
    "expert."
)
STEPS_TIP = "Sampling steps. 10 or more; 4 with a LightX2V distillation LoRA."


def shift_input(tooltip: str = SHIFT_TIP) -> io.Input:
    return io.Float.Input("shift", default=5.0, min=0.01, max=100.0, step=0.01, tooltip=tooltip)


def denoise_input() -> io.Input:
    tip = "How much noise to start from: 1 for a new video. Less changes a video that is in the latent already, and only so far."
    return io.Float.Input("denoise", default=1.0, min=0.01, max=1.0, step=0.01, tooltip=tip)


def seed_input(tooltip: str) -> io.Input:
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tooltip)


def cfg_input() -> io.Input:
    tip = "Guidance. About 3 for plain models, 5 for Wan2.2 5B and SkyReels-V2, 4.5 for Mochi; exactly 1 with a distillation LoRA."
    return io.Float.Input("cfg", default=3.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=tip)


def schedule_inputs() -> list[io.Input]:
    """Steps, guidance, shift, sampler and scheduler, the same on every node that samples."""
    return [
        io.Int.Input("steps", default=10, min=1, max=10000, tooltip=STEPS_TIP),
        cfg_input(),
        shift_input(),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.SAMPLER_NAMES,
            default="euler",
            tooltip="Any ComfyUI sampler. Euler is the official one.",
        ),
        io.Combo.Input(
            "scheduler",
            options=sampling.SCHEDULERS,
            default=sampling.FLOW_MATCH,
            tooltip="flow_match is the official schedule, exact for any number of steps; Mochi's is linear_quadratic.",
        ),
    ]


def pair_inputs() -> list[io.Input]:
    """The low-noise expert of Wan2.2, where the experts change, and its guidance."""
    return [
        io.Model.Input(
            "model_low", optional=True, tooltip="The Wan2.2 low-noise expert with its Pusa LoRA; leave empty for Wan2.1."
        ),
        io.Float.Input(
            "boundary",
            optional=True,
            default=0.875,
            min=0.0,
            max=1.0,
            step=0.001,
            round=0.0001,
            advanced=True,
            tooltip="Steps whose noise level lies below this go to model_low. 0.875 for Wan2.2-T2V-A14B.",
        ),
        io.Float.Input(
            "cfg_low",
            optional=True,
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            advanced=True,
            tooltip="Guidance of model_low; 0 takes the same as cfg.",
        ),
    ]


class PusaKSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaKSampler",
            display_name="KSampler (Pusa)",
            category=CATEGORY,
            description=(
                "A KSampler that gives every latent frame its own timestep, so that condition frames stay as clean as you "
                "say. Drives one Wan or Mochi model, or the Wan2.2 high and low noise pair. Without a condition it is "
                "text-to-video."
            ),
            search_aliases=["ksampler", "pusa sampler", "image to video", "animate", "flowmatch_pusa", "wan sampler"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Conditioning.Input("positive", tooltip="What the video shows."),
                io.Conditioning.Input("negative", tooltip="What the video avoids; not used at cfg 1."),
                io.Latent.Input("latent_image", tooltip="The latent to sample: size and length of the video."),
                seed_input("Seed of the noise. The same seed draws the same noise as in KSampler."),
                *schedule_inputs(),
                denoise_input(),
                condition_input("The condition frames. Without them the node samples text-to-video."),
                *pair_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[io.Latent.Output("latent", tooltip="The sampled video latent; clean condition frames keep their latents.")],
        )

    @classmethod
    @named_errors
    def execute(
        cls,
        model,
        positive,
        negative,
        latent_image,
        seed,
        steps,
        cfg,
        shift,
        sampler_name,
        scheduler,
        denoise,
        condition=None,
        model_low=None,
        boundary=0.875,
        cfg_low=0.0,
    ) -> io.NodeOutput:
        latent = sampling.sample(
            model,
            positive,
            negative,
            latent_image,
            seed=seed,
            steps=steps,
            cfg=cfg,
            shift=shift,
            sampler_name=sampler_name,
            scheduler=scheduler,
            denoise=denoise,
            condition=condition,
            model_low=model_low,
            boundary=boundary,
            cfg_low=cfg_low or None,
            warn=warner(cls),
        )
        return io.NodeOutput(latent)


class PusaApplyCondition(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaApplyCondition",
            display_name="Apply Condition (Pusa)",
            category=CATEGORY,
            description=(
                "Puts a condition into a model and a latent for any other sampler node: KSampler, KSampler (Advanced), "
                "SamplerCustomAdvanced and those of other packs. For two experts use one of these nodes for each."
            ),
            search_aliases=["any sampler", "pusa patch", "samplercustomadvanced", "ksampler advanced", "vectorized timestep"],
            inputs=[
                io.Model.Input("model", tooltip=ONE_MODEL_TIP),
                io.Latent.Input("latent", tooltip="The latent to sample, of the size the condition was made for."),
                PusaCondition.Input("condition", tooltip="The condition frames."),
                shift_input(SHIFT_TIP + " A ModelSamplingSD3 node behind this one replaces the shift in turn."),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Model.Output("model_out", display_name="model", tooltip="The model that samples every frame at its level."),
                io.Latent.Output(
                    "latent_out", display_name="latent", tooltip="The latent with the condition frames in place; sample this."
                ),
            ],
        )

    @classmethod
    @named_errors
    def execute(cls, model, latent, condition, shift) -> io.NodeOutput:
        prepared = sampling.prepare(model, latent, condition, shift, cls.define_schema().display_name)
        said = [counted_otherwise(of_model(model), latent), *(remarks(model) if condition.conditioned else ())]
        for text in filter(None, said):
            warner(cls)(text)
        return io.NodeOutput(*prepared)


class PusaApplyConditionRaylight(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="PusaApplyConditionRaylight",
            display_name="Apply Condition (Pusa, raylight)",
            category=CATEGORY,
            description=(
                "Puts a condition into the models of raylight's actors, which sample one clip on several GPUs, in place of an "
                "earlier condition. It is there where the node pack raylight is."
            ),
            search_aliases=["raylight", "several gpus", "ray actors", "xfuser", "sequence parallel"],
            inputs=[
                RayActors.Input("ray_actors", tooltip="The actors of raylight with a model, from Load Diffusion Model (Ray)."),
                io.Latent.Input("latent", tooltip="The latent to sample, of the size the condition was made for."),
                PusaCondition.Input("condition", tooltip="The condition frames."),
                shift_input(SHIFT_TIP + " A model sampling node of raylight behind this one replaces the shift in turn."),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                RayActors.Output(
                    "actors_out",
                    display_name="ray_actors",
                    tooltip="The same actors; their models sample every frame at its level.",
                ),
                io.Latent.Output(
                    "latent_out", display_name="latent", tooltip="The latent with the condition frames in place; sample this."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **given) -> float:
        """Never that of an earlier run: an actor holds one condition, and ComfyUI does not know which."""
        return float("nan")

    @classmethod
    @named_errors
    def execute(cls, ray_actors, latent, condition, shift) -> io.NodeOutput:
        placed, said = raylight.apply(ray_actors, latent, condition, shift, cls.define_schema().display_name)
        for text in said:
            warner(cls)(text)
        return io.NodeOutput(ray_actors, placed)


class PusaScheduler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaScheduler",
            display_name="Scheduler (Pusa)",
            category=CATEGORY,
            description="The official Pusa sigma schedule of Wan for SamplerCustomAdvanced, exact for any number of steps.",
            search_aliases=["sigmas", "flow match scheduler", "flowmatch_pusa", "shift 5"],
            inputs=[
                io.Int.Input("steps", default=10, min=1, max=10000, tooltip=STEPS_TIP),
                shift_input("Shift of the schedule: Pusa uses 5, more keeps the noise high for longer."),
                denoise_input(),
            ],
            outputs=[io.Sigmas.Output("sigmas", tooltip="Noise levels from 1 (noise) to 0 (clean), one more than steps.")],
        )

    @classmethod
    @named_errors
    def execute(cls, steps, shift, denoise) -> io.NodeOutput:
        return io.NodeOutput(flow_match_sigmas(steps, shift, denoise))
