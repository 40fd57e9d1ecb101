"""A base directory in which every workflow is at home: the pack with its pictures and clips, and files of the right names."""

import json
from pathlib import Path

from devtools.places import REPOSITORY, prepare_base
from devtools.weights.models import MODELS

INPUTS = REPOSITORY / "assets" / "input"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Validation.Workflows": True,
    "Comfy.Workflow.ShowMissingModelsWarning": True,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # words are drawn at any zoom
    "Comfy.Locale": "en",
}


def plain_base(base: Path) -> Path:
    """Make `base` a directory with the pack and nothing else, and the settings of the page."""
    prepare_base(base)
    user = base / "user" / "default"
    user.mkdir(parents=True, exist_ok=True)
    (user / "comfy.settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    return base


def official_files(base: Path) -> list[Path]:
    """Where the official model files lie in a base directory."""
    return [base / "models" / file.folder / file.name for files in MODELS.values() for file in files]


def make_base(base: Path) -> Path:
    """Make `base` such a directory, with an empty file in the place of each official one."""
    plain_base(base)
    for path in official_files(base):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return base
