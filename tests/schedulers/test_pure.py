"""The house rule that imports run one way: nodes -> pusa_model -> schedulers, and ComfyUI only where it is needed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import host_comfyui
import pytest

ROOT = host_comfyui.ROOT
ROOMS = ("schedulers", "pusa_model", "nodes")


def run_without_comfyui(code: str, folder: Path) -> None:
    """Run Python code in a fresh interpreter that knows of no ComfyUI."""
    clean = {key: value for key, value in os.environ.items() if key not in ("COMFYUI_PATH", "PYTHONPATH")}
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_schedulers_need_no_comfyui():
    run_without_comfyui(
        "import sys, schedulers; schedulers.flow_match_sigmas(10);"
        "host = [name for name in sys.modules if name.startswith(('comfy', 'folder_paths', 'nodes'))];"
        "assert not host, host",
        ROOT,
    )


def test_the_pack_can_be_imported_without_comfyui():
    run_without_comfyui("import host_comfyui; assert host_comfyui.load_pack().comfy_entrypoint", ROOT / "tests")


def imports(path: Path) -> list[str]:
    """Modules that a file imports; those of this pack by their path from its root, with a leading dot."""
    package = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
            names = [".".join(base)] if base else [alias.name for alias in node.names]
            found += [f".{name}" for name in names]
    return found


def sources(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room} has no source files"
    return files


def begins_with(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


HOST = ("comfy", "comfy_api", "comfy_extras", "folder_paths", "latent_preview", "nodes", "server", "execution")


@pytest.mark.parametrize(
    "room, forbidden",
    [
        ("schedulers", (*HOST, ".pusa_model", ".nodes")),
        ("pusa_model", (".nodes", "nodes", "comfy_api", "server", "execution")),
        ("nodes", ("pusa_model", "schedulers")),  # `nodes` by its full name is ComfyUI's
    ],
)
def test_arrows_run_one_way(room, forbidden):
    wrong = [f"{path.name}: {module}" for path in sources(room) for module in imports(path) if begins_with(module, *forbidden)]
    assert not wrong


def test_rooms_are_imported_relatively():
    """ComfyUI has a `nodes` of its own, and the pack's folder can have any name."""
    files = [ROOT / "__init__.py", *(path for room in ROOMS for path in sources(room))]
    absolute = [f"{path.name}: {name}" for path in files for name in imports(path) if begins_with(name, "pusa_model", "schedulers")]
    assert not absolute


def test_the_entry_file_imports_nothing_before_it_is_called():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_the_scan_sees_every_form_of_import(tmp_path, monkeypatch):
    """The scan itself can fail: each way to write a forbidden import is found."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "schedulers").mkdir()
    path = tmp_path / "schedulers" / "bad.py"
    path.write_text("import comfy.utils\nfrom nodes import x\nfrom ..pusa_model import y\nfrom .. import nodes\nfrom . import z\n")
    assert imports(path) == ["comfy.utils", "nodes", ".pusa_model", ".nodes", ".schedulers"]
