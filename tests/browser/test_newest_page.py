"""The newest page of ComfyUI, which users get before the pinned ComfyUI has it: what they do first goes on there too."""

import os
import sys

import pytest
import test_lines
import test_timeline
from test_workflows import FOLDER, NAMES, complaints, read

from cli.server import ComfyServer, cpu_arguments
from devtools.browser import PAGE
from workflows.source.words.titles import TITLES


@pytest.fixture(scope="module")
def newest_editor(chromium, base):
    """An editor of a second server on the same base directory."""
    if not (page := os.environ.get(PAGE)):
        pytest.skip("the newest page of ComfyUI could not be downloaded")
    from workflows.source.page.editor import Editor

    arguments = [*cpu_arguments(sys.executable), "--front-end-root", page]
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=arguments) as server:
        with Editor(server.url, chromium) as editor:
            yield editor


def titled(prompt):
    """An API prompt with the titles of its nodes only; this page adds pack and version."""
    return {key: node | {"_meta": {"title": node["_meta"]["title"]}} for key, node in prompt.items()}


@pytest.mark.parametrize("number, name", list(enumerate(NAMES)))
def test_a_workflow_opens(newest_editor, number, name):
    """In turns in either canvas: no complaint, no file missing, and it is queued as its API twin."""
    newest_editor.nodes2(number % 2 == 1)
    newest_editor.open(read(FOLDER / f"{TITLES[name]}.json"), name)
    assert complaints(newest_editor) == [] and newest_editor.missing_models() == []
    assert titled(newest_editor.prompt()) == titled(read(FOLDER / "api" / f"{name}.json"))


def test_a_demo_runs_from_the_page(newest_editor):
    """The Run button queues it, and the video appears in the page."""
    name = TITLES["demo_i2v"]
    newest_editor.open(read(FOLDER / f"{name}.json"), name)
    outputs = newest_editor.finished(newest_editor.queue())
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    shown = "name => [...document.querySelectorAll('video')].some(video => video.currentSrc.includes(name))"
    newest_editor.wait(shown, file["filename"])
    assert complaints(newest_editor) == []


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_the_timeline_is_used(newest_editor, pictures, nodes2):
    test_timeline.test_dropped_dragged_trimmed_and_undone(newest_editor, pictures, nodes2)


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_a_line_stays_after_the_job(newest_editor, nodes2):
    test_lines.test_a_line_stays_after_the_job_in_the_page_that_queued_it(newest_editor, nodes2)
