"""The node that rolls through a clip of any length."""

from comfy_api.latest import io

from ..pusa_model.rolling import sample_rolling
from .sampling import ONE_MODEL_TIP, STEPS_TIP, cfg_input, seed_input, shift_input
from .shared.common import CATEGORY, condition_input, named_errors, warner


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
        settings = {"seed": seed, "length": length, "window": window, "steps": steps, "block": block, "cfg": cfg, "shift": shift}
        prompts = list(positive.values())
        return io.NodeOutput(sample_rolling(model, prompts, negative, latent, **settings, condition=condition, warn=warner(cls)))
