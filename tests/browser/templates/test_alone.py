"""A ComfyUI that has the pack's folder in custom_nodes and nothing else: every demo opens without a missing file and runs."""

import json
import os
import sys

import host_comfyui
import pytest

from cli.server import ComfyServer, cpu_arguments
from workflows.source.page.host import plain_base
from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
DEMOS = sorted(name for name in TITLES if name.startswith("demo_"))
MINE = b"the user's own"


def started(base) -> ComfyServer:
    return ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=cpu_arguments(sys.executable))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Such a base directory; one file of the user's has the name of one of ours."""
    base = plain_base(tmp_path_factory.mktemp("alone"))
    (base / "input" / "harbour_end.jpg").write_bytes(MINE)
    return base


@pytest.fixture(scope="module")
def page(chromium, alone):
    from workflows.source.page.editor import Editor

    with started(alone) as server, Editor(server.url, chromium) as editor:
        yield editor


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_opens_without_a_missing_file_and_runs(page, name):
    page.nodes2(False)
    page.open(json.loads((FOLDER / f"{TITLES[name]}.json").read_text(encoding="utf-8")), TITLES[name])
    assert [*page.errors, *page.messages(), *page.missing_nodes(), *page.missing_models()] == []
    outputs = page.finished(page.queue())
    assert any(file["filename"].endswith(".mp4") for output in outputs.values() for file in output.get("images", []))


def test_no_model_file_was_copied(page, alone):
    assert [path for path in (alone / "models").rglob("*") if path.is_file() and "nano" in path.name] == []


def test_a_file_of_the_users_stays_and_one_that_was_removed_stays_away(page, alone):
    """The pack fills the input folder once, and replaces nothing there."""
    shipped = {path.name for folder in ("assets/input", "assets/nano/input") for path in (host_comfyui.ROOT / folder).iterdir()}
    inputs = alone / "input"
    assert shipped <= {path.name for path in inputs.iterdir()}
    assert (inputs / "harbour_end.jpg").read_bytes() == MINE
    (inputs / "harbour_start.jpg").unlink()
    with started(alone):
        assert not (inputs / "harbour_start.jpg").exists() and (inputs / "harbour_end.jpg").read_bytes() == MINE
