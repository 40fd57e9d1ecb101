"""A graph before it has places: nodes with their inputs, each in a column of a named group, and a note."""

import re
from dataclasses import dataclass, field

from devtools.weights.models import MODELS, JoinedFile, ModelFile

# Groups from left to right; those of one band stand below each other.
BANDS = (("Model",), ("Prompt", "Size and length"), ("Control video",), ("Given frames",), ("Storyboard",), ("Sample",), ("Video",))
OPEN = ("Prompt", "Control video", "Given frames", "Storyboard")  # groups for the user to fill
WIDTH, NOTE_WIDTH = 340, 460
WIDTHS = {
    "CLIPLoader": 420, "CLIPTextEncode": 420, "PusaConditionPlot": 480, "PusaModelLoader": 420, "PusaModelPairLoader": 420,
    "PusaTimeline": 760, "SaveVideo": 400, "UNETLoader": 420, "VAELoader": 420, "PusaLoadPrompt": 300,
}  # fmt: skip
# Least heights of nodes that show something or are written into, without their title.
HEIGHTS = {
    "CLIPTextEncode": 190, "LoadImage": 320, "LoadVideo": 420, "PusaConditionPlot": 430, "PusaTimeline": 430, "SaveVideo": 520,
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
    wider: int = 0  # than others of its kind

    @property
    def width(self) -> int:
        """Width on the canvas."""
        return WIDTHS.get(self.class_type, WIDTH) + self.wider

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
    bands: tuple = BANDS
    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, key: str, class_type: str, group: str, column: int = 0, title: str = "", muted: bool = False, **inputs) -> str:
        """Add a node and return its key. An input that comes from another node is a tuple (key, output)."""
        self.nodes[key] = Node(class_type, inputs, group, column, title, muted)
        return key

    def ids(self) -> dict[str, int]:
        """Number of each node in the files."""
        return {key: number for number, key in enumerate(self.nodes, 1)}

    def note_size(self) -> tuple[int, int]:
        """Room for the note, by the lines that its words take."""
        lines = re.sub(r"\(http\S+\)", "", self.note).splitlines()
        return NOTE_WIDTH, 70 + 17 * sum(1 + len(line) // 62 for line in lines)

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
