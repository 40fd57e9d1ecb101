"""Nodes that say which latent frames are given, and how far each may still change."""

from comfy_api.latest import io

from ..pusa_model import timeline
from ..pusa_model.condition import Condition
from ..pusa_model.families.lookup import counted_otherwise, of_latent, of_vae, target_latent
from ..pusa_model.families.table import Family
from ..pusa_model.paths.renoise import CHOICES, rows_of
from ..pusa_model.timeline.encode import ENCODINGS, FITS
from ..schedulers import InputError, parse_positions, pixel_length, summary
from ..schedulers.grammar import decimal_comma, noise_values, position_terms
from .shared.common import CATEGORY, PusaCondition, condition_input, named_errors, say, warner
from .shared.verdict import Mistakes

VAE_TIP = (
    "The VAE of the model: the Wan2.1 VAE for Wan2.1, Wan2.2 A14B and SkyReels-V2; the Wan2.2 VAE for Wan2.2 TI2V 5B; for Mochi a "
    "file that holds both encoder and decoder."
)
LATENT_TIP = "The latent that will be sampled. Only its size and length are used; connect the same one to the sampler."
CHAIN_TIP = "A condition to add to: chain condition nodes to mix pictures, clips and latents on one timeline."
NOISE_TIP = (
    "Noise multiplier of each condition frame, 0 to 1: 0 keeps it exactly, 0.2 lets it change a little, 1 leaves it free. "
    "One value for all, a list such as 0.0, 0.3, or a ramp such as 0.0..0.5. Not used when multipliers is connected."
)
CLIP_NOISE_TIP = " The default fits 13 frames at the start (4 latent frames); a ramp fits any number."
FIT_TIP = "What to do with another size: crop fills the frame and cuts the edges, pad adds black bars, stretch distorts."
MULTIPLIERS_TIP = (
    "Takes the place of noise: a curve, read from the first condition frame (left) to the last (right), one number for all, or a "
    "list with a number for each, all from 0 to 1."
)
RENOISE_TIP = (
    "once noises the frames with the clip and denoises them with it. always keeps them as given and shows them to the model with "
    "fresh noise in every step, the multiplier being its level (SkyReels-V2: 0.02). steps does so in the first steps, then clean."
)
PICTURE_WORDS = [
    "image to video", "i2v", "wan i2v", "animate picture", "start end frames", "first last frame", "keyframe", "flf2v", "inbetween",
]  # fmt: skip
OUTPUT_TIP = "The condition frames with their positions and multipliers, for a sampler or the next condition node."


def multipliers_input() -> io.Input:
    """The optional socket that takes the place of the `noise` text."""
    types = [io.Curve, io.Custom("FLOATS"), io.Float]
    return io.MultiType.Input("multipliers", types=types, optional=True, tooltip=MULTIPLIERS_TIP)


def renoise_inputs() -> list[io.Input]:
    """How given frames are noised: with the clip, or anew in every step."""
    return [
        io.Combo.Input("renoise", options=list(CHOICES), default="once", optional=True, advanced=True, tooltip=RENOISE_TIP),
        io.Int.Input(
            "renoise_steps",
            default=1,
            min=1,
            max=10000,
            optional=True,
            advanced=True,
            tooltip="renoise steps: in how many steps, from the first on.",
        ),
    ]


def condition_output() -> io.Output:
    return PusaCondition.Output("condition_out", display_name="condition", tooltip=OUTPUT_TIP)


def check_text(positions: str | None = None, noise: str | None = None) -> bool | str:
    """Check what can be checked before the graph runs: whether the texts parse.

    Linked texts are None here. Of a link that leads nowhere ComfyUI passes the list that it is written as, and refuses it itself.
    """
    mistakes = {}
    for name, text, read in (("positions", positions, position_terms), ("noise", noise, noise_values)):
        try:
            if isinstance(text, str):
                read(text)
        except InputError as error:
            mistakes[name] = str(error)
    return Mistakes(mistakes) if mistakes else True


def target_of(cls, family: Family | None, latent):
    """Samples of the target of a condition; says where an empty one was counted by the frames of another family."""
    if family is not None and (text := counted_otherwise(family, latent)):
        warner(cls)(text)
    return target_latent(family, latent)


def tell(cls, before: Condition | None, after: Condition, noise: str, multipliers, asked: list[int] | None = None) -> None:
    """Show on a node what was understood: the frames that it added to a condition, `asked` for as video frames or not."""
    earlier = len(before.positions) if before is not None else 0
    line = summary(after.positions[earlier:], after.multipliers[earlier:], asked, earlier, after.factor)
    remark = decimal_comma(noise) if multipliers is None else "noise from multipliers"
    say(cls, f"{line}; {remark}" if remark else line)


class PusaKeyframes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        picture = io.Image.Input("image", tooltip="A picture, or a batch of them; each takes the next position.")
        return io.Schema(
            node_id="PusaKeyframes",
            display_name="Keyframes (Pusa)",
            category=CATEGORY,
            description=(
                "Places pictures on the timeline of a video: one at frame 0 is image-to-video, two at 0 and last are "
                "start and end frames, more are keyframes."
            ),
            search_aliases=PICTURE_WORDS,
            inputs=[
                io.Vae.Input("vae", tooltip=VAE_TIP),
                io.Latent.Input("latent", tooltip=LATENT_TIP),
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplatePrefix(picture, prefix="image", min=1, max=50),
                    tooltip="The pictures, in the order of `positions`. A new socket appears for each one connected.",
                ),
                io.String.Input(
                    "positions",
                    default="0",
                    tooltip="Where each picture goes: 0, 40, last, or -1 from the end. With unit latent also ranges such as 0-3.",
                ),
                io.Combo.Input(
                    "unit",
                    options=["frame", "latent"],
                    default="frame",
                    tooltip="What positions count: video frames (an 81-frame clip has 0 to 80), or latent frames (0 to 20).",
                ),
                io.String.Input("noise", default="0.2", tooltip=NOISE_TIP),
                io.Combo.Input("fit", options=FITS, default="crop", tooltip=FIT_TIP),
                io.Combo.Input(
                    "encode",
                    options=ENCODINGS,
                    default="causal",
                    advanced=True,
                    tooltip=(
                        "How a picture after frame 0 is encoded: causal as a group of four frames (Mochi: six) behind a primer, as "
                        "the video VAE expects there, still alone (official, reads as so many frames at rest)."
                    ),
                ),
                condition_input(CHAIN_TIP),
                multipliers_input(),
                *renoise_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[condition_output()],
        )

    @classmethod
    def validate_inputs(cls, positions=None, noise=None, images=None) -> bool | str:
        return check_text(positions, noise)  # ComfyUI passes the growing `images` whether it is asked for or not

    @classmethod
    @named_errors
    def execute(
        cls,
        vae,
        latent,
        images,
        positions,
        unit,
        noise,
        fit,
        encode,
        condition=None,
        multipliers=None,
        renoise="once",
        renoise_steps=1,
    ) -> io.NodeOutput:
        target = target_of(cls, of_vae(vae), latent)
        rows = rows_of(renoise, renoise_steps)
        placed = timeline.keyframes(vae, target, images, positions, unit, noise, fit, encode, condition, multipliers, rows)
        asked = parse_positions(positions, pixel_length(placed.target[1], placed.factor)) if unit == "frame" else None
        tell(cls, condition, placed, noise, multipliers, asked)
        return io.NodeOutput(placed)


class PusaVideoFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaVideoFrames",
            display_name="Video Frames (Pusa)",
            category=CATEGORY,
            description=(
                "Places the start or the end of a clip on the timeline of a new video: the end of a clip at the start "
                "extends it, with the start of another at the end it becomes a transition."
            ),
            search_aliases=["extend video", "video extension", "transition", "completion", "v2v", "continue clip"],
            inputs=[
                io.Vae.Input("vae", tooltip=VAE_TIP),
                io.Latent.Input("latent", tooltip=LATENT_TIP),
                io.Image.Input(
                    "video",
                    tooltip="The frames of the clip, at 16 per second for Wan, 24 for Wan2.2 5B and SkyReels-V2, 30 for Mochi.",
                ),
                io.Combo.Input(
                    "take",
                    options=["end", "start"],
                    default="end",
                    tooltip="Which part to take: the end (to continue the clip), or the start (to lead up to it, with place end).",
                ),
                io.Int.Input(
                    "frames",
                    default=13,
                    min=1,
                    max=8001,
                    step=2,  # of what all families take
                    tooltip="How many frames to take: 4n + 1, such as 5, 9, 13; 6n + 1 for Mochi. More carry the motion further.",
                ),
                io.Combo.Input(
                    "place",
                    options=["start", "end"],
                    default="start",
                    tooltip=(
                        "Where in the new video they go. 4n + 1 frames (Mochi: 6n + 1) fill n + 1 latent frames at the start, n at "
                        "the end (the first frame only primes the video VAE there)."
                    ),
                ),
                io.String.Input("noise", default="0.0, 0.3, 0.4, 0.5", tooltip=NOISE_TIP + CLIP_NOISE_TIP),
                io.Combo.Input("fit", options=FITS, default="crop", tooltip=FIT_TIP),
                condition_input(CHAIN_TIP),
                multipliers_input(),
                *renoise_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[condition_output()],
        )

    @classmethod
    def validate_inputs(cls, noise=None) -> bool | str:
        return check_text(noise=noise)

    @classmethod
    @named_errors
    def execute(
        cls, vae, latent, video, take, frames, place, noise, fit, condition=None, multipliers=None, renoise="once", renoise_steps=1
    ) -> io.NodeOutput:
        target = target_of(cls, of_vae(vae), latent)
        rows = rows_of(renoise, renoise_steps)
        placed = timeline.video_frames(vae, target, video, take, frames, place, noise, fit, condition, multipliers, rows)
        tell(cls, condition, placed, noise, multipliers)
        return io.NodeOutput(placed)


class PusaLatentFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaLatentFrames",
            display_name="Latent Frames (Pusa)",
            category=CATEGORY,
            description=(
                "Places latent frames on the timeline of a video, for latents that you made or encoded yourself. Keyframes "
                "(Pusa) and Video Frames (Pusa) do the encoding for you."
            ),
            search_aliases=["latent condition", "condition frames", "extra latents", "pusa latent"],
            inputs=[
                io.Latent.Input("latent", tooltip=LATENT_TIP),
                io.Latent.Input(
                    "frames",
                    tooltip=(
                        "The latent frames to place: one for each position, or a clip as long as latent, of which the frames at "
                        "the positions are taken. A batch of 1 serves all."
                    ),
                ),
                io.String.Input(
                    "positions",
                    default="0",
                    tooltip="Latent frames to write them to: 0, 20, a range 0-3, -1 from the end, or last.",
                ),
                io.String.Input("noise", default="0.2", tooltip=NOISE_TIP),
                condition_input(CHAIN_TIP),
                multipliers_input(),
                *renoise_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[condition_output()],
        )

    @classmethod
    def validate_inputs(cls, positions=None, noise=None) -> bool | str:
        return check_text(positions, noise)

    @classmethod
    @named_errors
    def execute(
        cls, latent, frames, positions, noise, condition=None, multipliers=None, renoise="once", renoise_steps=1
    ) -> io.NodeOutput:
        given = frames["samples"]
        target = target_of(cls, of_latent(given), latent)
        rows = rows_of(renoise, renoise_steps)
        placed = timeline.latent_frames(target, given, positions, noise, condition, multipliers, rows)
        tell(cls, condition, placed, noise, multipliers)
        return io.NodeOutput(placed)
