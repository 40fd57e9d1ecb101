"""The forms of app mode: what the tabs of the official demo ask for, with seed, size and length; filled and run from the page."""

import itertools
import json

import av
import embedded
import host_comfyui
import numpy as np
import pytest
import tidy
from PIL import Image

from workflows.source.apps import apps
from workflows.source.graph import ABOUT, NOTE
from workflows.source.wan import NEGATIVE, PICTURES, PROMPT
from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
OWN = ["nano_00.png", "nano_16.png", "nano_32.png"]


def lines(wan22: bool, embedded: bool, task: str) -> list[tuple]:
    """Label, default, and where the form sets them least, greatest and step of each line below the first."""
    start, middle, end = OWN if embedded else PICTURES
    sides, frames = (64, 64) if embedded else (832, 480), 33 if embedded else 81
    given = {
        "image_to_video": [("Picture", start), ("Noise", 0 if embedded else 0.2, 0, 1, 0.1)],
        "multi_frames": [
            ("Start picture", start),
            ("Middle picture (optional)", middle),
            ("End picture", end),
            ("Use the middle picture", False),
            ("Frame of the middle picture", "16" if embedded else "40"),
            ("Noise of the middle picture", "0" if embedded else "0.4"),
            ("Noise of start and end", "0, 0" if embedded else "0.2, 0.5"),
        ],
        "video_to_video": [
            ("Video", "harbour.mp4"),
            ("Latent frames that stay", "0, last"),
            ("Noise of these frames", "0.3"),
        ],
        "text_to_video": [],
    }[task]
    limits = ((16, 4096, 16), (16, 4096, 16), (1, 1001, 4)) if task == "video_to_video" else ((), (), ())
    labels = ("Width", "Height", "Length in frames")
    size = [(label, value, *limit) for label, value, limit in zip(labels, (*sides, frames), limits)]
    strengths = [("LoRA strength, high noise", 1.5), ("LoRA strength, low noise", 1.4)]
    return [
        *given,
        ("Prompt", "nano_positive.safetensors" if embedded else PROMPT),
        ("Seed", 0),
        *size,
        ("Steps", 4 if wan22 else 10, 1, 50, 1),
        *(strengths if wan22 else [("LoRA strength", 1.4, 0.5, 3, 0.1)]),
        *([] if wan22 else [("Negative prompt", "nano_negative.safetensors" if embedded else NEGATIVE)]),
    ]


TASKS = ("image_to_video", "multi_frames", "video_to_video", "text_to_video")
FORMS = {f"app_{task}": lines(False, False, task) for task in TASKS}
FORMS |= {f"app_wan22_{task}": lines(True, False, task) for task in TASKS}
FORMS |= {f"app_demo_{task}": lines(False, True, task) for task in TASKS[:2]}
LINES = "[data-testid='linear-widgets'] [data-testid='app-mode-widget-item']"
WIDGET = """const [, id, name] = line.dataset.widgetKey.split(':'), node = app.graph.getNodeById(Number(id));
    const widget = node.widgets.find(widget => widget.name === name);
    const label = line.querySelector("[data-testid='builder-widget-label']").innerText;"""
# What a person reads, and the widget behind it.
READ = f"""() => [...document.querySelectorAll("{LINES}")].map(line => {{
    {WIDGET}
    const limits = 'min' in node.properties ? [widget.options.min, widget.options.max, widget.options.step2] : [];
    return [label, widget.value, ...limits];
}})"""
FILL = f"""values => [...document.querySelectorAll("{LINES}")].forEach(line => {{
    {WIDGET}
    if (!(label in values)) return;
    widget.value = values[label];
    widget.callback?.(widget.value, app.canvas, node);
}})"""
# Widgets that a number comes to and that show another one.
OTHER = """() => app.graph.nodes.flatMap(node => (node.inputs ?? []).flatMap((slot, index) => {
    const origin = slot.widget && node.getInputNode(index);
    if (!origin?.type.startsWith('Primitive')) return [];
    const shown = node.widgets.find(each => each.name === slot.widget.name).value;
    return shown === origin.widgets[0].value ? [] : [[node.type, slot.name, shown]];
}))"""
SWITCH = f"{LINES}:has-text('Use the middle picture') [role='switch']"
RUN = "[data-testid='linear-run-button'] button:has([data-testid='linear-run-button-icon'])"
SMALL = {"Width": 64, "Height": 64, "Length in frames": 17, "Steps": 2}
opened = itertools.count()


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def open_form(editor, name):
    """Load a workflow as a person does, and wait for its form. A name that is open already would show what its tab shows."""
    editor.forget()
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    editor.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, f"{name} {next(opened)}"])
    editor.wait(f'count => document.querySelectorAll("{LINES}").length === count', 1 + len(FORMS[name]))


def run(editor, base) -> list[np.ndarray]:
    """Press the form's Run button, and wait until the video is beside the form; its frames, 64 pixels wide and high."""
    known = editor.evaluate("async () => Object.keys(await (await fetch('/history')).json())")
    editor.click(RUN)
    new = "async known => Object.keys(await (await fetch('/history')).json()).find(id => !known.includes(id))"
    editor.wait(new, known, 300)
    outputs = editor.finished(editor.evaluate(new, known))
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    editor.wait("name => [...document.querySelectorAll('video')].some(video => video.currentSrc.includes(name))", file["filename"])
    with av.open(str(base / "output" / file["subfolder"] / file["filename"])) as container:
        frames = [frame.to_image().resize((64, 64), Image.Resampling.BOX) for frame in container.decode(video=0)]
    return [np.array(frame, float) for frame in frames]


@pytest.fixture
def graph_view(editor):
    """The page shows graphs again afterwards."""
    yield
    editor.evaluate("() => { app.extensionManager.workflow.activeWorkflow.activeMode = 'graph'; }")


def test_there_are_the_forms_that_are_tested():
    assert sorted(name for name in TITLES if name.startswith("app_")) == sorted(app.graph.name for app in apps()) == sorted(FORMS)


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.graph.name)
def test_the_files_are_what_the_source_says(app):
    """Whoever changes an app in workflows/source builds it, too."""
    workflow, twin = read(FOLDER / f"{app.graph.title}.json"), read(FOLDER / "api" / f"{app.graph.name}.json")
    assert {id: node["class_type"] for id, node in twin.items()} == {id: node["class_type"] for id, node in app.graph.api().items()}
    for id, node in app.graph.api().items():
        assert node["inputs"].items() <= twin[id]["inputs"].items(), "run: python dev.py workflows"
    assert app.form().items() <= workflow["extra"].items(), "run: python dev.py workflows"
    notes = {node["title"]: node["widgets_values"] for node in workflow["nodes"] if node["type"] == "MarkdownNote"}
    assert notes == {NOTE: [app.graph.note], ABOUT: [app.graph.about]}, "run: python dev.py workflows"
    for node in workflow["nodes"]:
        assert node["type"] != "MarkdownNote" or (node["inputs"][0]["label"] if node["title"] == ABOUT else ABOUT) == ABOUT


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_an_app_opens_as_its_form(editor, graph_view, pictures, name, nodes2):
    """The form has the lines of the demo and no other; the graph behind it is the one that was saved."""
    editor.nodes2(nodes2)
    open_form(editor, name)
    editor.screenshot(pictures / f"{name}-form-{'nodes2' if nodes2 else 'classic'}.png")
    (first, words), *others = editor.evaluate(READ)
    (about,) = [app.graph.about for app in apps() if app.graph.name == name]
    assert (first, words) == (ABOUT, about) and [tuple(line) for line in others] == FORMS[name]
    (shown,) = editor.text(f"{LINES}:has-text('{ABOUT}')")
    assert "4n + 1 frames" in shown and "**" not in shown  # the words can be read, as Markdown
    assert editor.errors == [] and editor.messages() == []
    assert editor.prompt() == read(FOLDER / "api" / f"{name}.json")
    assert editor.saved()["extra"]["linearData"] == read(FOLDER / f"{TITLES[name]}.json")["extra"]["linearData"]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_the_graph_behind_a_form_is_tidy(editor, pictures, name, nodes2):
    """A person who leaves the form finds a graph as good as any other."""
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    workflow["extra"]["linearMode"] = False
    editor.nodes2(nodes2)
    editor.open(workflow, name)
    editor.screenshot(pictures / f"{name}-{'nodes2' if nodes2 else 'classic'}.png")
    assert [*editor.errors, *editor.messages(), *editor.missing_nodes(), *editor.missing_models()] == []
    assert editor.not_for_the_classic_canvas() == [] and editor.evaluate(OTHER) == []
    assert tidy.faults(workflow, editor.boxes(), editor.groups()) == []
    assert editor.prompt() == read(FOLDER / "api" / f"{name}.json")


@pytest.mark.parametrize("name", [f"app_{task}" for task in TASKS])
def test_an_app_runs_from_its_form(editor, graph_view, base, pictures, name):
    """Its length is that of the form; its video appears beside it. The embedded model stands in for Wan."""
    open_form(editor, name)
    embedded.use(editor, embedded.FILES)
    editor.evaluate(FILL, SMALL)
    assert len(run(editor, base)) == 17
    editor.screenshot(pictures / f"{name}-form-after.png")
    assert editor.messages() == []


def far(frame: np.ndarray, picture: str) -> float:
    """Mean distance of a frame from a picture, in steps of 255."""
    with Image.open(host_comfyui.ROOT / "assets" / "nano" / "input" / picture) as own:
        small = own.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    return float(np.abs(frame - np.array(small, float)).mean())


@pytest.mark.parametrize("middle", [None, False, True], ids=["picture", "start and end", "and middle"])
def test_a_filled_form_makes_a_video_through_its_pictures_and_another_one_next_time(editor, graph_view, base, pictures, middle):
    """On the embedded model, with nothing else changed, and with the pictures in another order than they come."""
    first, between, last = OWN[1], OWN[2], OWN[0]
    places = {"Start picture": first, "Middle picture (optional)": between, "End picture": last}
    open_form(editor, "app_demo_image_to_video" if middle is None else "app_demo_multi_frames")
    editor.evaluate(FILL, {"Picture": first, "Steps": 4} | places)
    if middle:
        editor.click(SWITCH)
    given = {0: first} | ({} if middle is None else {32: last}) | ({16: between} if middle else {})
    seeds, videos = [], []
    for _ in range(2):
        seeds.append(dict(line[:2] for line in editor.evaluate(READ))["Seed"])
        videos.append(run(editor, base))
    editor.screenshot(pictures / f"app_demo-filled-{middle}.png")
    for frames in videos:
        assert len(frames) == 33
        for number, picture in given.items():
            assert min(OWN, key=lambda each: far(frames[number], each)) == picture and far(frames[number], picture) < 4
    assert seeds[0] != seeds[1] and np.abs(videos[0][8] - videos[1][8]).mean() > 0.1  # 0 of one seed
    assert editor.messages() == []
