"""The node that takes a whole timeline as one text, which the page shows as a film strip."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from comfy_api.latest import io

from ..pusa_model.condition import Condition
from ..pusa_model.families.lookup import of_vae
from ..pusa_model.families.table import WAN
from ..pusa_model.paths.renoise import rows_of
from ..pusa_model.timeline import placing
from ..pusa_model.timeline.encode import fit_images, target_size
from ..schedulers import InputError, summary
from ..schedulers.timeline import Placed, parse_timeline, place_items, refuse, resolved_text
from ..schedulers.timeline.lines import SOCKETS
from .conditions import CHAIN_TIP, LATENT_TIP, VAE_TIP, condition_output, target_of
from .shared import input_files
from .shared.common import CATEGORY, condition_input, named_errors, say, warner

TIMELINE_TIP = (
    "A line for each picture or clip: `0: start.png, noise 0.2`, `last: end.png`, `0-12: clip.mp4 from end, noise 0.0..0.5`, "
    "`20: image0` for a connected picture. Files are those of ComfyUI's input folder; `#` begins a comment."
)


class PusaTimeline(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        picture = io.Image.Input("image", tooltip="A picture, or the frames of a clip; a line of the timeline says where it goes.")
        return io.Schema(
            node_id="PusaTimeline",
            display_name="Timeline (Pusa)",
            category=CATEGORY,
            description=(
                "Pictures and clips on a film strip: drop them, drag them, and say how far each may change. Does what Keyframes "
                "(Pusa) and Video Frames (Pusa) do, for any number of pictures and clips at any place."
            ),
            search_aliases=[
                "timeline",
                "storyboard",
                "film strip",
                "multi frame",
                "keyframes",
                "image to video",
                "start end frames",
            ],
            inputs=[
                io.Vae.Input("vae", tooltip=VAE_TIP),
                io.Latent.Input("latent", tooltip=LATENT_TIP),
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplatePrefix(picture, prefix="image", min=0, max=SOCKETS),
                    optional=True,
                    tooltip="Pictures and clips of other nodes; the timeline names them image0, image1 and so on.",
                ),
                condition_input(CHAIN_TIP),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=1.0,
                    round=0.001,
                    advanced=True,
                    tooltip=(
                        "Frames per second of the model, to which clips are brought; 0 is that of the VAE's family: 16 for Wan, 24 "
                        "for Wan2.2 5B, 30 for Mochi. Set 24 for SkyReels-V2."
                    ),
                ),
                io.String.Input("timeline", multiline=True, default="", tooltip=TIMELINE_TIP),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                condition_output(),
                io.String.Output("items", tooltip="The timeline with every place as a number: what lies where, and its files."),
            ],
        )

    @classmethod
    def validate_inputs(cls, timeline=None, images=None) -> bool | str:
        if not isinstance(timeline, str):  # linked, or a link that leads nowhere
            return True
        try:
            items = parse_timeline(timeline)
            refuse({item.line: sentence for item in items if not item.socket and (sentence := input_files.missing(item.source))})
        except InputError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, timeline=None, **kwargs):
        try:
            return [input_files.stamp(item.source) for item in parse_timeline(timeline or "") if not item.socket]
        except InputError:
            return []

    @classmethod
    @named_errors
    def execute(cls, vae, latent, fps, timeline, images=None, condition=None) -> io.NodeOutput:
        family = of_vae(vae)
        target = target_of(cls, family, latent)
        grown = start = placing.start(target, condition)
        length, factor = start.target[1], start.factor
        items = parse_timeline(timeline)
        refuse({item.line: sentence for item in items if (sentence := absent(item, images or {}))})
        placed, mistakes = place_items(items, length, factor)
        refuse(mistakes)
        for each in placed:
            with at_line(each):
                start.check_places(each.latents, each.multipliers)
        rate = Fraction(fps).limit_denominator(1001) or (family or WAN).rate
        reader = Reader(vae, target, images or {}, rate, warner(cls))
        for each in placed:
            with at_line(each):
                grown = reader.add(each, grown)
        earlier = len(start.positions)
        asked = [] if any(each.item.last for each in placed) else [each.frames[0] for each in placed]
        say(cls, summary(grown.positions[earlier:], grown.multipliers[earlier:], asked or None, earlier, factor))
        return io.NodeOutput(grown, resolved_text(placed))


def absent(item, images: dict) -> str:
    """What to say of a line whose file or socket is not there; nothing of another."""
    if not item.socket:
        return input_files.missing(item.source)
    if item.source in images:
        return ""
    return f"nothing is connected to `{item.source}`. Connect a picture, or write the name of a file."


@contextmanager
def at_line(placed: Placed) -> Iterator[None]:
    """Errors of what is done inside name the line."""
    try:
        yield
    except InputError as error:
        raise InputError(f"line {placed.item.line}: {error}") from error


class Reader:
    """Reads what lies on a timeline and adds it to a condition.

    Args:
        rate: frames per second of the model.
    """

    def __init__(self, vae, latent, images: dict, rate: Fraction, warn):
        self.vae, self.latent, self.images, self.rate, self.warn = vae, latent, images, rate, warn
        self.size = target_size(vae, latent)

    def add(self, placed: Placed, condition: Condition) -> Condition:
        """A copy of a condition with one item more.

        Raises:
            InputError: what lies there cannot be read or used.
        """
        item = placed.item
        rows = rows_of(item.renoise, item.renoise_steps)
        if item.last is None:
            images, place = {item.source: self._picture(item)}, str(placed.frames[0])
            return placing.keyframes(
                self.vae, self.latent, images, place, "frame", item.noise, item.fit, item.encode, condition, None, rows
            )
        clip = self._clip(item, len(placed.frames))
        return placing.clip_frames(self.vae, self.latent, clip, placed.latents, item.noise, item.fit, condition, rows)

    def _picture(self, item):
        if not item.socket:
            return input_files.picture(item, self.rate, self.warn)
        found = self.images[item.source]
        if len(found) != 1:
            raise InputError(f"`{item.source}` is a batch of {len(found)} pictures; a place takes one, a range like 0-12 a clip.")
        return found

    def _clip(self, item, count: int):
        if not item.socket:
            fitted = lambda frames: fit_images(frames, *self.size, item.fit)  # noqa: E731
            return input_files.clip(item, count, self.rate, self.warn, fitted)
        found = self.images[item.source]
        if item.begin not in ("start", "end"):
            raise InputError(f"`from {item.begin}` asks for a time, which frames of `{item.source}` have not; use start or end.")
        if len(found) < count:
            raise InputError(f"`{item.source}` has {len(found)} frame{'s' * (len(found) != 1)}; {count} are needed.")
        return found[:count] if item.begin == "start" else found[-count:]
