"""A graph before it has places: nodes with their inputs, each in a column of a named group, and a note."""

import re
from dataclasses import dataclass, field

from devtools.weights.models import MODELS, JoinedFile, ModelFile

from .words.titles import TITLES

# Two rows of groups from left to right; those of the first are below each other where they are in brackets together.
ROWS = (
    (("Model",), ("Prompt",), ("Control",), ("Guidance",), ("Sample",), ("Video",)),
    ("Size and length", "Control video", "Given frames", "Storyboard", "Schedule"),
)
SIZE = "Size and length"
WORDS_ALONE = (("Model",), ("Prompt", SIZE), ("Sample",), ("Video",))  # the first row where nothing is given
NOTE, ABOUT = "About this workflow", "About this form"  # titles of the notes
OPEN = ("Prompt", "Control video", "Clips", "Given frames", "Storyboard", "Schedule")  # groups for the user to fill
WIDTH, NOTE_WIDTH = 340, 440
WIDTHS = {
    "CLIPLoader": 420, "CLIPTextEncode": 380, "GetVideoComponents": 240, "LoadImage": 270, "LoadVideo": 300,
    "PusaConditionPlot": 480, "PusaLoadPrompt": 300, "PusaLoraLoader": 420, "PusaModelLoader": 420, "PusaModelPairLoader": 480,
    "PusaTimeline": 580, "SaveVideo": 380, "UNETLoader": 420, "VAEEncode": 240, "VAELoader": 420,
}  # fmt: skip
# Least heights of nodes that show something or are written into, without their title.
HEIGHTS = {
    "CLIPTextEncode": 190, "LoadImage": 280, "LoadVideo": 340, "PusaConditionPlot": 430, "PusaTimeline": 430, "SaveVideo": 340,
    "PreviewAny": 120,
}  # fmt: skip
FILES = {file.name: file for files in MODELS.values() for file in files}


@dataclass
class Node:
    """One node: what it is, what goes in, and where it stands."""

    class_type: str
    inputs: dict
    group: str
    column: int = 0
    title: str = ""
    muted: bool = False
    narrower: int = 0  # than others of its kind

    @property
    def width(self) -> int:
        """Width on the canvas."""
        return WIDTHS.get(self.class_type, WIDTH) - self.narrower

    @property
    def height(self) -> int:
        """Least height on the canvas; the page makes it larger if need be."""
        return HEIGHTS.get(self.class_type, 0)

    @property
    def files(self) -> list[ModelFile | JoinedFile]:
        """The official model files that its inputs name."""
        return [FILES[value] for value in self.inputs.values() if isinstance(value, str) and value in FILES]


@dataclass
class Graph:
    """Nodes by key, in the order of their numbers."""

    name: str
    note: str = ""
    about: str = ""  # of a graph with a form: a second note, which the form shows
    rows: tuple = ROWS
    note_below: bool = False  # where a row is too wide with the note before it
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name of the workflow's file, which ComfyUI shows."""
        return TITLES.get(self.name, self.name)

    def add(self, key: str, class_type: str, group: str, column: int = 0, title: str = "", muted: bool = False, **inputs) -> str:
        """Add a node and return its key. An input that comes from another node is a tuple (key, output)."""
        self.nodes[key] = Node(class_type, inputs, group, column, title, muted)
        return key

    def narrow(self, pixels: int, *keys: str) -> None:
        """Make nodes narrower than others of their kind, or wider."""
        for key in keys:
            self.nodes[key].narrower = pixels

    def ids(self) -> dict[str, int]:
        """Number of each node in the files."""
        return {key: number for number, key in enumerate(self.nodes, 1)}

    @property
    def about_id(self) -> int:
        """Number of the note that a form shows; the other note stands between it and the nodes."""
        return len(self.nodes) + 2

    def notes(self) -> list[tuple]:
        """Title, text and size of each note, with room for the lines that its words take."""

        def room(text: str, margin: int) -> tuple[int, int]:
            lines = re.sub(r"\(http\S+\)", "", text).splitlines()
            return NOTE_WIDTH, margin + 17 * sum(1 + len(line) // 62 for line in lines)

        texts = [(NOTE, self.note, 70), (ABOUT, self.about, 30)]  # the first has headings
        return [(title, text, room(text, margin)) for title, text, margin in texts if text]

    def files(self) -> list[ModelFile | JoinedFile]:
        """Official model files that the graph needs, each once."""
        return list(dict.fromkeys(file for node in self.nodes.values() for file in node.files))

    def api(self) -> dict:
        """Every node in API format, for the page to build from."""
        ids = self.ids()

        def value(given):
            return [str(ids[given[0]]), given[1]] if isinstance(given, tuple) else given

        made = {}
        for key, node in self.nodes.items():
            made[str(ids[key])] = {
                "class_type": node.class_type,
                "inputs": {name: value(given) for name, given in node.inputs.items()},
                "_meta": {"title": node.title} if node.title else {},
            }
        return made


def file_url(file: ModelFile) -> str:
    """Where a file is downloaded from."""
    return f"https://huggingface.co/{file.repository}/resolve/main/{file.source}"
