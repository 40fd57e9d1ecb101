"""Where prompts are stored."""

import folder_paths
import pytest
from pusa.pusa_model.prompts import stored as prompts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """ComfyUI's models/prompts, in an empty folder."""
    path = tmp_path / "prompts"
    path.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, prompts.FOLDER, ([str(path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return path
