"""The rules of the house that a program can check."""

import re
import subprocess
import sys

import host_comfyui
import pytest

ROOT = host_comfyui.ROOT
FOLDERS = (
    "", "nodes/", "pusa_model/", "schedulers/", "cli/", "devtools/", "training/", "training/nano/", "benchmarks/",
    "benchmarks/reliability/",
)  # fmt: skip
SOURCES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}*.py"))


def test_ruff_has_nothing_to_say():
    answer = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea(path):
    lines = len(path.read_text(encoding="ascii").splitlines())
    assert lines <= (70 if path == ROOT / "nodes" / "__init__.py" else 300)


def test_nothing_of_comfyui_or_torch_is_patched_for_good():
    """Patches go through a cloned model: no assignment to an attribute of an imported module."""
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.match(r"\s*(comfy|torch|nodes|folder_paths)(\.\w+)+\s*=[^=]", line) or "setattr(comfy" in line
    ]
    assert not wrong


def test_version_and_changelog_agree():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert re.search(rf"^## {re.escape(version)}$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert "comfyui" not in re.search(r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1].lower()
