"""The rules of the house that a program can check."""

import ast
import re
import subprocess
import sys
from pathlib import PurePath

import host_comfyui
import pytest

ROOT = host_comfyui.ROOT
LISTED = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
SOURCES = [ROOT / name for name in LISTED if not name.startswith("tests/")]
ROOMS = sorted({path.parent for path in SOURCES})
FILES, LINES = 10, 300

ARROWS = {
    "schedulers": set(),
    "pusa_model": {"schedulers"},
    "nodes": {"pusa_model", "schedulers"},
    "hosting": set(),
    "training": {"nodes", "pusa_model", "schedulers", "hosting"},
    "cli": {"hosting"},
    "devtools": {"hosting", "cli"},
    "benchmarks": {"hosting", "cli", "devtools", "training"},
    "workflows": {"hosting", "cli", "devtools"},
}
"""What the rooms at the top may import of the others. Programs reach the pack through ``hosting.process.pack_module``."""

LAYERS = ({"storage"}, {"families", "paths"}, {"lora", "network", "prompts"}, {""}, {"timeline"}, {"video"}, {"actors"})
"""The rooms of pusa_model; "" are the files of the method. A room imports from those before it and from itself."""


def test_ruff_has_nothing_to_say():
    answer = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea(path):
    lines = len(path.read_text(encoding="ascii").splitlines())
    assert lines <= (70 if path == ROOT / "nodes" / "__init__.py" else LINES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_program_ends_with_its_start(path):
    """What stands below ``if __name__ == "__main__"`` is not there yet when the program runs, unless it imports itself anew."""
    body = [(type(node), ast.unparse(node)) for node in ast.parse(path.read_text()).body]
    starts = [number for number, (kind, text) in enumerate(body) if kind is ast.If and "__main__" in text.split(chr(10))[0]]
    assert starts in ([], [len(body) - 1]) or "pack_module(" in body[starts[0]][1]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_can_be_seen_at_a_glance(room):
    """Few files beside the one that begins it, and a line that says what lives there."""
    files = {path.name for path in SOURCES if path.parent == room} - {"__init__.py"}
    assert len(files) <= FILES, sorted(files)
    begins = room / "__init__.py"
    assert room == ROOT or begins.is_file() and ast.get_docstring(ast.parse(begins.read_text()))


def test_the_map_of_the_house_names_every_room_at_the_top():
    """Those without Python too. A room says in CONTRIBUTING what lives there."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    rooms = {name.split("/")[0] for name in names if "/" in name and not name.startswith(".")}
    layout = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## ")[1]
    cells = re.findall(r"^\| ((?:`[\w/]+/`(?:, )?)+)", layout, re.M)
    assert rooms <= {path.split("/")[0] for cell in cells for path in re.findall(r"`([^`]+)`", cell)}


def imported(path):
    """The modules of this repository that a file imports, as paths from its root: ("pusa_model", "lora", "load")."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            whole = (*base, *(node.module or "").split(".")) if node.module else base
            for name in node.names:
                yield (*whole, name.name)
        elif isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)


def across(path):
    """What a file imports of the other rooms at the top. ``nodes`` by that name alone is ComfyUI's module."""
    here = path.relative_to(ROOT).parts
    text = path.read_text()
    absolute = {"nodes"} if re.search(r"^\s*(import nodes|from nodes)", text, re.M) else set()
    return {target[0] for target in imported(path)} - {here[0]} - absolute


def test_arrows_run_one_way():
    """Between the rooms at the top, and between those of pusa_model."""
    wrong = []
    for path in SOURCES:
        here = path.relative_to(ROOT).parts
        if len(here) > 1 and (found := across(path) & ARROWS.keys() - ARROWS[here[0]]):
            wrong.append(f"{PurePath(*here)} imports {found}")
        for target in imported(path):
            if here[0] == "pusa_model" == target[0] and layer(target) > layer(here):
                wrong.append(f"{PurePath(*here)} imports {'.'.join(target)}")
    assert not wrong


def layer(parts):
    room = parts[1] if (ROOT / parts[0] / parts[1]).is_dir() else ""
    return next(index for index, rooms in enumerate(LAYERS) if room in rooms)


def test_no_file_outside_the_families_asks_for_one_by_name():
    """What differs between families is in their records."""
    families = re.compile(r"\b(is|is not|==|!=) (WAN|WAN22_5B|SKYREELS|MOCHI)\b|families\.mochi|family\.name\s*(==|!=)")
    room = ROOT / "pusa_model" / "families"
    assert not [path.name for path in SOURCES if path.parent != room and families.search(path.read_text())]


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
