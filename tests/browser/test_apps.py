"""The forms of app mode: the tabs of the official demo, with its controls, ranges and defaults."""

import json

import av
import embedded
import host_comfyui
import pytest
import tidy

from workflows.source.apps import apps
from workflows.source.wan import NEGATIVE, PICTURES, PROMPT

FOLDER = host_comfyui.ROOT / "workflows"
# Label, default, and least, greatest and step of a number.
NOISE, ALPHA = ("Noise Multiplier", 0.2, 0, 1, 0.1), ("LoRA Alpha", 1.4, 0.5, 3, 0.1)
STEPS = ("Inference Steps", 10, 1, 50, 1)
WORDS = [("Prompt", PROMPT), ("Negative Prompt", NEGATIVE)]
FORMS = {
    "app_image_to_video": [("Image", PICTURES[0]), NOISE, ALPHA, STEPS, *WORDS],
    "app_multi_frames": [
        ("Image 1", PICTURES[0]),
        ("Image 2", PICTURES[2]),
        ("Image 3 (optional)", PICTURES[1]),
        ("Number of Images", 2, 2, 3, 1),
        ("Conditioning Positions", "0,20"),
        ("Noise Multipliers", "0.2,0.5"),
        ALPHA,
        STEPS,
        *WORDS,
    ],
    "app_video_to_video": [
        ("Video", "harbour.mp4"),
        ("Conditioning Positions", "0,20"),
        ("Noise Multipliers", "0.3,0.3"),
        ALPHA,
        STEPS,
        *WORDS,
    ],
    "app_text_to_video": [ALPHA, STEPS, *WORDS],
}
LINES = "[data-testid='linear-widgets'] [data-testid='app-mode-widget-item']"
# What a person reads, and the widget behind it.
READ = f"""() => [...document.querySelectorAll("{LINES}")].map(line => {{
    const [, id, name] = line.dataset.widgetKey.split(':');
    const widget = app.graph.getNodeById(Number(id)).widgets.find(widget => widget.name === name);
    const label = line.querySelector("[data-testid='builder-widget-label']").innerText;
    if (typeof widget.value !== 'number') return [label, widget.value];
    return [label, widget.value, widget.options.min, widget.options.max, widget.options.step2];
}})"""
RUN = "[data-testid='linear-run-button'] button:has([data-testid='linear-run-button-icon'])"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def open_form(editor, name):
    """Load a workflow as a person does, and wait for its form."""
    editor.forget()
    workflow = read(FOLDER / f"{name}.json")
    editor.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, name])
    editor.wait(f'count => document.querySelectorAll("{LINES}").length === count', len(FORMS[name]))


def run(editor) -> dict:
    """Press the form's Run button; the outputs of what it queued."""
    known = editor.evaluate("async () => Object.keys(await (await fetch('/history')).json())")
    editor.click(RUN)
    new = "async known => Object.keys(await (await fetch('/history')).json()).find(id => !known.includes(id))"
    editor.wait(new, known, 300)
    return editor.finished(editor.evaluate(new, known))


@pytest.fixture
def graph_view(editor):
    """The page shows graphs again afterwards."""
    yield
    editor.evaluate("() => { app.extensionManager.workflow.activeWorkflow.activeMode = 'graph'; }")


def test_there_is_a_form_for_every_tab_of_the_demo():
    assert sorted(path.stem for path in FOLDER.glob("app_*.json")) == sorted(app.graph.name for app in apps()) == sorted(FORMS)


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.graph.name)
def test_the_files_are_what_the_source_says(app):
    """Whoever changes an app in workflows/source builds it, too."""
    workflow, twin = read(FOLDER / f"{app.graph.name}.json"), read(FOLDER / "api" / f"{app.graph.name}.json")
    assert {id: node["class_type"] for id, node in twin.items()} == {id: node["class_type"] for id, node in app.graph.api().items()}
    for id, node in app.graph.api().items():
        assert node["inputs"].items() <= twin[id]["inputs"].items(), "run: python dev.py workflows"
    assert app.form().items() <= workflow["extra"].items(), "run: python dev.py workflows"
    (note,) = [node for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    assert note["widgets_values"] == [app.graph.note], "run: python dev.py workflows"


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_an_app_opens_as_its_form(editor, graph_view, pictures, name, nodes2):
    """The form has the lines of the demo and no other; the graph behind it is the one that was saved."""
    editor.nodes2(nodes2)
    open_form(editor, name)
    editor.screenshot(pictures / f"{name}-form-{'nodes2' if nodes2 else 'classic'}.png")
    assert [tuple(line) for line in editor.evaluate(READ)] == FORMS[name]
    assert editor.errors == [] and editor.messages() == []
    assert editor.prompt() == read(FOLDER / "api" / f"{name}.json")
    assert editor.saved()["extra"]["linearData"] == read(FOLDER / f"{name}.json")["extra"]["linearData"]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_the_graph_behind_a_form_is_tidy(editor, pictures, name, nodes2):
    """A person who leaves the form finds a graph as good as any other."""
    workflow = read(FOLDER / f"{name}.json")
    workflow["extra"]["linearMode"] = False
    editor.nodes2(nodes2)
    editor.open(workflow, name)
    editor.screenshot(pictures / f"{name}-{'nodes2' if nodes2 else 'classic'}.png")
    assert [*editor.errors, *editor.messages(), *editor.missing_nodes(), *editor.missing_models()] == []
    assert editor.not_for_the_classic_canvas() == []
    assert tidy.faults(workflow, editor.boxes(), editor.groups()) == []
    assert editor.prompt() == read(FOLDER / "api" / f"{name}.json")


@pytest.mark.parametrize("name", FORMS)
def test_an_app_runs_from_its_form(editor, graph_view, base, pictures, name):
    """Its Run button queues it, and the video appears beside the form."""
    open_form(editor, name)
    embedded.use(editor, embedded.FILES)
    outputs = run(editor)
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    with av.open(str(base / "output" / file["subfolder"] / file["filename"])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 81
    editor.wait("name => [...document.querySelectorAll('video')].some(video => video.currentSrc.includes(name))", file["filename"])
    editor.screenshot(pictures / f"{name}-form-after.png")
    assert editor.messages() == []
