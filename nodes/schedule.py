"""Nodes that say at which level each frame is in each step, and one that rolls through a clip of any length."""

from comfy_api.latest import io

from ..pusa_model.rolling import sample_rolling
from ..pusa_model.timeline.placing import start
from ..schedulers import InputError, Recipe, flow_match_sigmas
from ..schedulers.level_table import KINDS, ORDERS, check_grid
from .conditions import CHAIN_TIP, LATENT_TIP, condition_output
from .sampling import ONE_MODEL_TIP, STEPS_TIP, cfg_input, seed_input, shift_input
from .shared.common import CATEGORY, condition_input, named_errors, say, warner

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
        if kind == "delay" and block > latent["samples"].shape[2]:
            raise InputError(f"`block` is {block}; the latent has {latent['samples'].shape[2]} frames.")
        grid = flow_match_sigmas(steps, shift) if sigmas is None else sigmas.float().cpu()
        check_grid(grid, "`sigmas`")
        recipe = Recipe(kind, lag, block, order, tuple(grid.tolist()))
        planned = start(latent["samples"], condition).with_recipe(recipe)
        clock = planned.clock()
        say(cls, f"{len(clock) - 1} steps for {planned.target[1]} latent frames, {len(grid) - 1} for each")
        return io.NodeOutput(planned, clock)


class PusaRollingVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        prompt = io.Conditioning.Input("prompt", tooltip="What this part of the clip shows.")
        return io.Schema(
            node_id="PusaRollingVideo",
            display_name="Rolling Video (Pusa)",
            category=CATEGORY,
            description=(
                "Samples a clip of any length at the memory of one window: frames become clean one after the other and the window "
                "goes with them, so nothing is decoded and encoded between."
            ),
            search_aliases=["long video", "rolling diffusion", "fifo", "infinite video", "diffusion forcing", "streaming"],
            inputs=[
                io.Model.Input("model", tooltip=ONE_MODEL_TIP),
                io.Autogrow.Input(
                    "positive",
                    template=io.Autogrow.TemplatePrefix(prompt, prefix="prompt", min=1, max=100),
                    tooltip="Prompts in the order of the clip, spread evenly over it. A new socket appears for each one connected.",
                ),
                io.Conditioning.Input("negative", tooltip="What the video avoids; not used at cfg 1."),
                io.Latent.Input("latent", tooltip="Size of the video. Its length is not used."),
                seed_input("Seed of the noise of the whole clip."),
                io.Int.Input(
                    "length", default=161, min=1, max=16001, step=2, tooltip="Frames of the result: 4n + 1, 6n + 1 for Mochi."
                ),
                io.Int.Input("window", default=21, min=1, max=4001, tooltip="Latent frames that the model sees at a time."),
                io.Int.Input("steps", default=10, min=1, max=10000, tooltip=STEPS_TIP),
                io.Int.Input("block", default=1, min=1, max=1000, tooltip="Latent frames that move together; 1 to 3 are usual."),
                cfg_input(),
                shift_input(),
                condition_input("Given frames; their positions count in the long clip."),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[io.Latent.Output("latent_out", display_name="latent", tooltip="The whole clip.")],
        )

    @classmethod
    @named_errors
    def execute(
        cls, model, positive, negative, latent, seed, length, window, steps, block, cfg, shift, condition=None
    ) -> io.NodeOutput:
        shape = tuple(latent["samples"].shape)
        if len(shape) != 5:
            raise InputError(f"`latent` has the shape {shape}; a video latent is [batch, channels, frames, height, width].")
        settings = {"seed": seed, "length": length, "window": window, "steps": steps, "block": block, "cfg": cfg, "shift": shift}
        prompts = list(positive.values())
        return io.NodeOutput(sample_rolling(model, prompts, negative, latent, **settings, condition=condition, warn=warner(cls)))
