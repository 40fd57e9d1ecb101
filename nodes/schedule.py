"""The node that says at which level each frame is in each step."""

from comfy_api.latest import io

from ..pusa_model.families.lookup import of_channels, target_latent
from ..pusa_model.timeline.placing import start
from ..schedulers import Recipe, flow_match_sigmas
from ..schedulers.level_table import KINDS, ORDERS, check_grid
from .conditions import CHAIN_TIP, LATENT_TIP, condition_output
from .sampling import shift_input
from .shared.common import CATEGORY, condition_input, named_errors, say

KIND_TIP = (
    "scaled: every frame at its share of the noise of all, as without this node. hold: a frame waits at its multiplier until the "
    "noise of all has fallen to it. delay: blocks of frames start one after the other (diffusion forcing)."
)


class PusaSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaSchedule",
            display_name="Schedule (Pusa)",
            category=CATEGORY,
            description=(
                "Gives every latent frame a noise level of its own in every step: frames that wait, or blocks that become clean "
                "one after the other. Stands behind the condition nodes; without any it is text-to-video."
            ),
            search_aliases=["diffusion forcing", "asynchronous", "noise schedule", "frame schedule", "skyreels ar", "fvdm"],
            inputs=[
                io.Latent.Input("latent", tooltip=LATENT_TIP),
                io.Combo.Input("kind", options=list(KINDS), default="delay", tooltip=KIND_TIP),
                io.Int.Input(
                    "lag",
                    default=2,
                    min=0,
                    max=100,
                    tooltip="delay: steps between the starts of two blocks. 0 is all at once, `steps` one after another.",
                ),
                io.Int.Input(
                    "block",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="delay: latent frames that move together; the last block may be short.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default="forward",
                    tooltip="delay: which block starts first: first, last or middle.",
                ),
                io.Int.Input(
                    "steps",
                    default=10,
                    min=1,
                    max=10000,
                    tooltip="Steps that each frame goes through. KSampler (Pusa) uses its own in their place.",
                ),
                shift_input("Timestep shift of these steps. KSampler (Pusa) uses its own in its place."),
                condition_input(CHAIN_TIP),
                io.Sigmas.Input(
                    "sigmas", optional=True, tooltip="Levels that each frame goes through, in place of steps and shift."
                ),
            ],
            outputs=[
                condition_output(),
                io.Sigmas.Output(
                    "sigmas_out", display_name="sigmas", tooltip="What to drive SamplerCustomAdvanced with: a level a step."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @named_errors
    def execute(cls, latent, kind, lag, block, order, steps, shift, condition=None, sigmas=None) -> io.NodeOutput:
        grid = flow_match_sigmas(steps, shift) if sigmas is None else sigmas.float().cpu()
        check_grid(grid, "`sigmas`")
        recipe = Recipe(kind, lag, block, order, tuple(grid.tolist()))
        family = None if condition is None else of_channels(condition.target[0])
        planned = start(target_latent(family, latent), condition).with_recipe(recipe)
        clock = planned.clock()
        say(cls, f"{len(clock) - 1} steps for {planned.target[1]} latent frames, {len(grid) - 1} for each")
        return io.NodeOutput(planned, clock)
