"""The newest page of ComfyUI: the pinned wheel becomes a folder, and nothing else does."""

import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import host_comfyui
import pytest

sys.path.append(str(host_comfyui.ROOT))

from devtools import browser  # noqa: E402

VENV = Path(sys.prefix)
NAME = f"comfyui_frontend_package-{browser.NEWEST_PAGE.version}"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is all pip may install from, with a wheel of a page; the pin is its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{browser.INSIDE}index.html", "<html>")
        wheel.writestr("comfyui_frontend_package/__init__.py", "")
        about = f"Metadata-Version: 2.1\nName: comfyui-frontend-package\nVersion: {browser.NEWEST_PAGE.version}\n"
        wheel.writestr(f"{NAME}.dist-info/METADATA", about)
        wheel.writestr(f"{NAME}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{NAME}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def made(tmp_path) -> str:
    return browser.newest_page(VENV, tmp_path / "cache", tmp_path / "log")


def test_the_pinned_wheel_becomes_a_folder_once(index, tmp_path, monkeypatch):
    sha256 = hashlib.sha256(next(index.iterdir()).read_bytes()).hexdigest()
    monkeypatch.setattr(browser, "NEWEST_PAGE", replace(browser.NEWEST_PAGE, sha256=sha256))
    folder = Path(made(tmp_path))
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    index.rename(tmp_path / "gone")
    assert made(tmp_path) == str(folder)


@pytest.mark.parametrize("gone", [False, True], ids=["another wheel", "no wheel"])
def test_without_the_pinned_wheel_there_is_no_page(index, tmp_path, gone):
    if gone:
        index.rename(tmp_path / "gone")
    assert made(tmp_path) == ""
    assert list((tmp_path / "cache" / "page").iterdir()) == []
