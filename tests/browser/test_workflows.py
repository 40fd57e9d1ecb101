"""Every shipped workflow in the real editor: it opens, converts, looks tidy, and the demos run from the page."""

import json

import av
import host_comfyui
import pytest
import tidy

from devtools.weights.models import MODELS, JoinedFile
from workflows.source.page.host import make_base, official_files
from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
# Those that open as a form have tests of their own.
NAMES = sorted(name for name in TITLES if not name.startswith("app_"))
JOINED = [file for files in MODELS.values() for file in files if isinstance(file, JoinedFile)]
DEMOS = [name for name in NAMES if name.startswith("demo_")]
FRAMES = {"demo_extend_ten": 213, "demo_rolling": 97, "demo_transition": 33, "demo_loop": 48}  # the others make 33


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def complaints(editor):
    """All that a page may say against a graph that it has just opened."""
    return [*editor.errors, *editor.messages(), *editor.missing_nodes(), *editor.not_for_the_classic_canvas()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_a_workflow_opens(editor, pictures, name, nodes2):
    """No complaint, no file missing, a tidy picture; it converts to its API twin, and so does what the page saves of it."""
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    twin = read(FOLDER / "api" / f"{name}.json")
    editor.nodes2(nodes2)
    editor.open(workflow, TITLES[name])
    editor.screenshot(pictures / f"{name}-{'nodes2' if nodes2 else 'classic'}.png")
    assert complaints(editor) == [] and editor.missing_models() == []
    assert tidy.faults(workflow, editor.boxes(), editor.groups()) == []
    assert editor.prompt() == twin
    saved = editor.saved()
    assert tidy.unordered(saved) == []
    editor.open(saved, TITLES[name])
    assert complaints(editor) == []
    assert editor.prompt() == twin


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_runs_from_the_page(editor, base, pictures, name):
    """The Run button queues it, a video of the right length lies on the disk and appears in the page, still without overlap."""
    nodes2 = DEMOS.index(name) % 2 == 1
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    editor.nodes2(nodes2)
    editor.open(workflow, TITLES[name])
    outputs = editor.finished(editor.queue())
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    with av.open(str(base / "output" / file["subfolder"] / file["filename"])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == FRAMES.get(name, 33) and frames[0].shape == (256, 256, 3)
    editor.wait("name => [...document.querySelectorAll('video')].some(video => video.currentSrc.includes(name))", file["filename"])
    editor.settle()
    editor.screenshot(pictures / f"{name}-after.png")
    assert complaints(editor) == []
    assert tidy.faults(workflow, editor.boxes(), editor.groups()) == []


def test_the_page_asks_nobody_else(editor):
    """Everything comes from the server, but for ComfyUI's own question for news."""
    assert {address.split("/")[2] for address in editor.outside} <= {"api.comfy.org"}


def test_a_template_opens_by_its_address(editor, server):
    """The link that shares a template leads to its graph."""
    name = "wan22_lightx2v_i2v"
    editor.visit(f"{server.url}/?template={TITLES[name]}&source=pusa")
    editor.wait("count => app.graph.nodes.length === count", len(read(FOLDER / f"{TITLES[name]}.json")["nodes"]))
    assert editor.prompt() == read(FOLDER / "api" / f"{name}.json")


@pytest.fixture(scope="module")
def without_models(editor, base):
    """The page as it is where no model file has been downloaded."""
    for path in official_files(base):
        path.unlink(missing_ok=True)
    editor.visit(editor.url)
    yield editor
    make_base(base)
    editor.visit(editor.url)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DEMOS])
def test_missing_models_are_offered_with_their_addresses(without_models, name):
    """The page lists each file that the graph names, with its folder, and its address unless it has to be joined."""
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    nodes = [node for node in workflow["nodes"] if node["mode"] == 0]
    models = [model for node in nodes for model in node["properties"].get("models", [])]
    wanted = {(model["name"], model["url"], model["directory"]) for model in models}
    values = [value for node in nodes for value in node.get("widgets_values") or []]
    wanted |= {(file.name, None, file.folder) for file in JOINED if file.name in values}
    without_models.open(workflow, TITLES[name])
    found = {(model["name"], model.get("url"), model.get("directory")) for model in without_models.missing_models()}
    assert found == wanted
