"""The hub and the models folder of the tests of downloads."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from hub import Hub, half  # noqa: E402

from devtools.weights.models import MODELS, JoinedFile  # noqa: E402


@pytest.fixture
def hub():
    repositories = {}
    for file in {file for files in MODELS.values() for file in files}:
        for each in file.halves if isinstance(file, JoinedFile) else [file]:
            content = half(each.stem) if each is not file else f"weights of {each.source}".encode() * 50
            repositories.setdefault(each.repository, {})[each.source] = content
    server = Hub(repositories)
    yield server
    server.close()


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
