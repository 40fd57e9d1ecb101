"""A base directory in which every workflow is at home: the pack, model files of the right names, pictures and clips."""

import json
import shutil
from pathlib import Path

from devtools.places import REPOSITORY, prepare_base
from devtools.weights.models import MODELS

EMBEDDED = REPOSITORY / "assets" / "nano"
INPUTS = REPOSITORY / "assets" / "input"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Validation.Workflows": True,
    "Comfy.Workflow.ShowMissingModelsWarning": True,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # words are drawn at any zoom
    "Comfy.Locale": "en",
}


def official_files(base: Path) -> list[Path]:
    """Where the official model files lie in a base directory."""
    return [base / "models" / file.folder / file.name for files in MODELS.values() for file in files]


def make_base(base: Path) -> Path:
    """Make `base` such a directory, with an empty file in the place of each official one."""
    prepare_base(base)
    for folder in (EMBEDDED / "input", INPUTS):
        shutil.copytree(folder, base / "input", dirs_exist_ok=True)
    shutil.copytree(EMBEDDED / "models", base / "models", dirs_exist_ok=True)
    for path in official_files(base):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    user = base / "user" / "default"
    user.mkdir(parents=True, exist_ok=True)
    (user / "comfy.settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    return base
