"""The words of the forms: a few lines that the form itself shows, and the note of the graph behind it."""

from ..graph import Graph
from . import notes

TITLES = {
    "image_to_video": "Image to Video", "multi_frames": "Start and End Frames", "video_to_video": "Video to Video",
    "text_to_video": "Text to Video",
}  # fmt: skip
EXACT = "**Noise** 0 keeps {} exactly, up to 0.3 stays close, more varies more."
WHAT = {
    "image_to_video": f"A picture comes alive: it is the first frame, the prompt says what happens. {EXACT.format('it')}",
    "multi_frames": (
        "The video begins with one picture and ends with another. With **Use the middle picture** on, it passes through a third at "
        f"the frame that you name. {EXACT.format('a picture')}"
    ),
    "video_to_video": (
        "Latent frames of a clip stay where they are, the others are drawn anew: `0, last` keeps its first and its last, `0-3` "
        "the first 13 frames. **Noise** is one value for all, or one for each. The clip needs at least **Length** frames."
    ),
    "text_to_video": "A video from words alone.",
}
LENGTH = "**Length** is 4n + 1 frames: {} are {}. Each run takes another **Seed**."
EMBEDDED = (
    "Nothing to download: the embedded model runs on any processor. It knows only moving shapes of 64 x 64 pixels, and prompts "
    "that are stored."
)


def about(task: str, model) -> str:
    """What the form says of itself."""
    frames = model.size[2]
    length = LENGTH.format(frames, f"{frames / 16:.0f} seconds")
    return notes.bold("\n\n".join([WHAT[task], *([EMBEDDED] if model.embedded else []), length]) + "\n")


def note(graph: Graph, task: str, model) -> str:
    """The note of the graph behind a form."""
    what = [
        "This graph opens as a form. **Enter app mode**, in the menu at the top left, leads back to it.",
        f"Not in the form: cfg {model.cfg:g}, shift 5, 16 frames per second.",
    ]
    if model.cfg == 1:
        what[-1] += " At cfg 1 the negative prompt is not used."
    worth = [
        "`seed` in **KSampler (Pusa)**: another number is another video.",
        "`width`, `height` and `length`: smaller is faster and needs less memory.",
        "The strength of the Pusa LoRA: higher follows the given frames more closely and moves less.",
    ]
    files = notes.EMBEDDED_FILES if model.embedded else notes.file_list(graph)
    given = "" if task == "text_to_video" else f"Choose your own in the form. Those shown are in {notes.INPUTS}."
    return notes.compose(f"App: {TITLES[task]}, {model.title}", what, files, worth, given)
