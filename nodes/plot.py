"""The node that shows what a condition means for the sampler."""

from comfy_api.latest import io, ui

from ..pusa_model.timeline.plot import plot_levels
from ..schedulers import flow_match_sigmas
from .shared.common import CATEGORY, PusaCondition, named_errors


class PusaConditionPlot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaConditionPlot",
            display_name="Plot Condition (Pusa)",
            category=CATEGORY,
            description=(
                "Draws the noise level of every latent frame over the steps: which frames are given, how clean they are, and "
                "how the free ones fall from noise to picture."
            ),
            search_aliases=["sigma plot", "noise schedule", "timestep plot", "preview condition", "show multipliers"],
            inputs=[
                PusaCondition.Input("condition", tooltip="The condition to show."),
                io.Int.Input("steps", default=10, min=1, max=10000, tooltip="Sampling steps of the official schedule."),
                io.Float.Input(
                    "shift", default=5.0, min=0.01, max=100.0, step=0.01, tooltip="Timestep shift of the official schedule."
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Sigmas of another schedule, or of Schedule (Pusa); when connected, steps and shift are not used.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The plot as a picture.")],
            is_output_node=True,
        )

    @classmethod
    @named_errors
    def execute(cls, condition, steps, shift, sigmas=None) -> io.NodeOutput:
        levels = flow_match_sigmas(steps, shift) if sigmas is None else sigmas.float().cpu()
        table = condition.table(levels if sigmas is None else None)
        if table is None:
            image = plot_levels(levels, condition.vector(), condition.factor)
        else:
            image = plot_levels(table.clock, condition.vector(), condition.factor, table.levels)
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))
