"""Nodes that make a clip longer, or lead from one clip to another, in one go."""

from collections.abc import Callable

from comfy_api.latest import io

from ..pusa_model.families.lookup import check_model, check_vae
from ..pusa_model.families.table import WAN, Family
from ..pusa_model.timeline.encode import vae_factor
from ..pusa_model.video.clip import Clip, image_clip
from ..pusa_model.video.extend import DIRECTIONS, HOP_SEEDS, Plan, extend
from ..pusa_model.video.frames import STORES
from ..pusa_model.video.transition import transition
from ..pusa_model.video.window import WindowSampler, once
from ..schedulers.frame_rate import METHODS
from .conditions import VAE_TIP, check_text
from .sampling import MODEL_TIP, pair_inputs, schedule_inputs, seed_input
from .shared.common import CATEGORY, named_errors, say, warner
from .shared.video import joined_video, video_clip

NOISE_TIP = (
    "How far the overlap may change, from its outer frame to the one next to the new frames: 0 keeps a frame exactly, 1 leaves "
    "it free. A list or a ramp is fitted to any overlap."
)


def clip_input(name: str, tooltip: str, optional: bool = False) -> io.Input:
    return io.MultiType.Input(name, types=[io.Video, io.Image], optional=optional, tooltip=tooltip)


def join_inputs() -> list[io.Input]:
    """What happens at a join."""
    return [
        io.Float.Input(
            "color_match",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            round=0.01,
            tooltip="Brings new colours to those of the overlap: 0 leaves them, 1 matches brightness and contrast.",
        ),
        io.Int.Input(
            "cross_fade",
            default=0,
            min=0,
            max=8001,
            tooltip="Frames of the overlap that fade into the new drawing of them. 0 keeps every given frame bit for bit.",
        ),
        io.Float.Input(
            "fps",
            default=16.0,
            min=0.1,
            max=1000.0,
            step=0.001,
            round=0.001,
            tooltip="Frames per second of a clip that comes as images. A video brings its own rate.",
        ),
    ]


def resample_input(optional: bool = False) -> io.Input:
    """What happens to a clip of another rate."""
    return io.Combo.Input(
        "resample",
        options=list(METHODS),
        default="keep",
        optional=optional,
        tooltip=(
            "Wan moves at 16 frames per second, Wan2.2 5B and SkyReels-V2 at 24, Mochi at 30. keep takes the frames of a clip "
            "of another rate as they are, so it seems slower or faster; nearest and blend go there and back, by the nearest frame "
            "or a mix of two."
        ),
    )


def store_input() -> io.Input:
    return io.Combo.Input(
        "frames_in",
        options=list(STORES),
        default="memory",
        advanced=True,
        tooltip="Where frames are kept as they come: memory, or a file in ComfyUI's temp folder for videos that do not fit.",
    )


def join_outputs() -> list[io.Output]:
    return [
        io.Image.Output("joined", tooltip="All frames: the given ones as they were, and the new ones in their place."),
        io.Image.Output("new_frames", tooltip="Only the new frames."),
        io.Image.Output("overlap", tooltip="The first overlap as the model drew it again, to compare with the given frames."),
        io.Video.Output(
            "video_out",
            display_name="video",
            tooltip="All frames at the rate of the clip, with its sound in place and silence elsewhere.",
        ),
    ]


def read_clip(
    name: str, video, fps: float, resample: str, frames_in: str, warn: Callable[[str], None], family: Family = WAN
) -> Clip:
    """The clip of a socket that takes a VIDEO or an IMAGE, for a model of this family."""
    clip = video_clip(video, frames_in, warn, name) if hasattr(video, "get_components") else image_clip(video, fps, name)
    if clip.rate != family.rate and resample == "keep":
        warn(
            f"The clip has {float(clip.rate):g} frames per second, {family.name} moves at {family.rate}. They are taken as they "
            "are; set `resample` if the new part moves too fast or too slowly."
        )
    if clip.width % 2 or clip.height % 2:
        warn(
            f"The clip has {clip.width} x {clip.height} pixels. The result has them too, but Save Video writes even sizes only: "
            "crop or scale the clip before, or `joined` after."
        )
    return clip


class PusaExtendVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        prompt = io.Conditioning.Input("prompt", tooltip="What a hop shows. The last prompt goes on for the hops that follow.")
        return io.Schema(
            node_id="PusaExtendVideo",
            display_name="Extend Video (Pusa)",
            category=CATEGORY,
            description=(
                "Makes a clip longer, in one hop or many, with a prompt for each if you like. Your frames stay as they are, the "
                "new ones follow without a gap or a repeated frame, and sound and frame rate are kept."
            ),
            search_aliases=["extend video", "video extension", "long video", "continue video", "prepend", "extend backwards"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Vae.Input("vae", tooltip=VAE_TIP),
                clip_input("video", "The clip to extend: a video, or its frames as images."),
                io.Autogrow.Input(
                    "positive",
                    template=io.Autogrow.TemplatePrefix(prompt, prefix="prompt", min=1, max=100),
                    tooltip="One prompt for all hops, or one for each. A new socket appears for each one connected.",
                ),
                io.Conditioning.Input("negative", tooltip="What the video avoids; not used at cfg 1."),
                io.Int.Input(
                    "overlap",
                    default=13,
                    min=1,
                    max=8001,
                    step=2,  # of what all families take
                    tooltip="Frames that each hop goes on from: 4n + 1, for Mochi 6n + 1. More carry motion and scene further.",
                ),
                io.Int.Input(
                    "new_frames",
                    default=68,
                    min=4,
                    max=8000,
                    step=2,  # of what all families take
                    tooltip=(
                        "Frames that each hop adds, a multiple of 4, for Mochi of 6. Wan is at home where overlap and new frames "
                        "make 81, Wan2.2 5B at 121, SkyReels-V2 at 97, Mochi at 163."
                    ),
                ),
                io.Int.Input("hops", default=1, min=1, max=1000, tooltip="How many times the video is extended."),
                io.String.Input("noise", default="0.0..0.2", tooltip=NOISE_TIP),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default="forwards",
                    tooltip="forwards goes on after the clip, backwards shows what came before it.",
                ),
                seed_input("Seed of the first hop."),
                io.Combo.Input(
                    "hop_seed",
                    options=list(HOP_SEEDS),
                    default="increment",
                    tooltip="increment: each hop takes the next seed. fixed: all hops take the same.",
                ),
                *schedule_inputs(),
                *join_inputs(),
                resample_input(),
                store_input(),
                *pair_inputs(),
            ],
            outputs=join_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, noise=None, positive=None) -> bool | str:
        return check_text(noise=noise)  # ComfyUI passes the growing `positive` whether it is asked for or not

    @classmethod
    @named_errors
    def execute(
        cls, model, vae, video, positive, negative, overlap, new_frames, hops, noise, direction, seed, hop_seed, steps, cfg,
        shift, sampler_name, scheduler, color_match, cross_fade, fps, resample, frames_in, model_low=None, boundary=0.875,
        cfg_low=0.0,
    ) -> io.NodeOutput:  # fmt: skip
        family = check_model(model)
        check_vae(vae, family)
        plan = Plan(overlap, new_frames, hops, direction, seed, hop_seed, color_match, cross_fade, resample, vae_factor(vae))
        warn = once(warner(cls))
        clip = read_clip("video", video, fps, resample, frames_in, warn, family)
        sampler = WindowSampler(
            model, vae, negative, noise, steps, cfg, shift, sampler_name, scheduler, model_low, boundary, cfg_low or None,
            hops, warn,
        )  # fmt: skip
        prompts = list(positive.values())
        joined = extend(clip, prompts, sampler, plan, frames_in, lambda hop: say(cls, f"hop {hop + 1} of {hops}"))
        video = joined_video(joined, clip)
        return io.NodeOutput(joined.frames, joined.new_frames, joined.overlap, video)


class PusaTransition(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PusaTransition",
            display_name="Transition (Pusa)",
            category=CATEGORY,
            description=(
                "Leads from the end of one clip to the start of another with new frames between. Without a second clip it leads "
                "back to the start of the first: a loop. Your frames stay as they are."
            ),
            search_aliases=["transition", "loop video", "seamless loop", "join clips", "completion", "interpolate", "inbetween"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Vae.Input("vae", tooltip=VAE_TIP),
                clip_input("video", "The clip to start from: a video, or its frames as images."),
                io.Conditioning.Input("positive", tooltip="What happens between."),
                io.Conditioning.Input("negative", tooltip="What the video avoids; not used at cfg 1."),
                io.Int.Input(
                    "overlap",
                    default=13,
                    min=5,
                    max=8001,
                    step=2,  # of what all families take
                    tooltip="Frames of either end that the model is given: 4n + 1, for Mochi 6n + 1. More carry motion further.",
                ),
                io.Int.Input(
                    "new_frames",
                    default=55,
                    min=3,
                    max=7999,
                    step=2,  # of what all families take
                    tooltip=(
                        "New frames between: 4n - 1, for Mochi 6n - 1. Wan is at home where they and both overlaps make 81, Wan2.2 "
                        "5B at 121, SkyReels-V2 at 97, Mochi at 163."
                    ),
                ),
                io.String.Input("noise", default="0", tooltip=NOISE_TIP),
                seed_input("Seed of the noise."),
                *schedule_inputs(),
                *join_inputs(),
                store_input(),
                clip_input("video_after", "The clip to arrive at. Leave it out to make a loop of the first.", optional=True),
                *pair_inputs(),
                resample_input(optional=True),  # behind what saved graphs have
            ],
            outputs=join_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, noise=None) -> bool | str:
        return check_text(noise=noise)

    @classmethod
    @named_errors
    def execute(
        cls, model, vae, video, positive, negative, overlap, new_frames, noise, seed, steps, cfg, shift, sampler_name, scheduler,
        color_match, cross_fade, fps, frames_in, video_after=None, model_low=None, boundary=0.875, cfg_low=0.0,
        resample="keep",
    ) -> io.NodeOutput:  # fmt: skip
        warn = once(warner(cls))
        family = check_model(model)
        check_vae(vae, family)
        clip = read_clip("video", video, fps, resample, frames_in, warn, family)
        after = None if video_after is None else read_clip("video_after", video_after, fps, resample, frames_in, warn, family)
        sampler = WindowSampler(
            model, vae, negative, noise, steps, cfg, shift, sampler_name, scheduler, model_low, boundary, cfg_low or None,
            warn=warn,
        )  # fmt: skip
        joined = transition(
            clip, after, positive, sampler, overlap=overlap, new_frames=new_frames, seed=seed, color_match=color_match,
            fade=cross_fade, resample=resample, frames_in=frames_in,
        )  # fmt: skip
        video = joined_video(joined, clip, after)
        return io.NodeOutput(joined.frames, joined.new_frames, joined.overlap, video)
