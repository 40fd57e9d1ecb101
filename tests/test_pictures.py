"""The pictures of README and of help pages: each is made by the build, and shows what nodes and graphs are now."""

import json
import re

import host_comfyui
import numpy as np
import pytest
from PIL import Image

from cli.demo.given import given_of
from cli.demo.sheets import COUNT, DARK, GAP, HEAD, HIGH, LABEL, ORANGE, STEP, Row, page
from cli.demo.tasks import NAMES, TASKS, demo_graph
from devtools.pages import README, SHEET, SHOT
from workflows.source.drawing import runs
from workflows.source.drawing.diagrams import DIAGRAMS, drawn
from workflows.source.drawing.wiring import MARGIN, WIRING, wiring
from workflows.source.page.film import FILE
from workflows.source.page.front import GRAPHS, MARK, ROWS, STRIPS, strip

ROOT = host_comfyui.ROOT
DOCS = ROOT / "web" / "docs"
SCHEMAS = {node.define_schema().display_name: node.define_schema() for node in host_comfyui.all_nodes()}
GIVEN = {
    "t2v": set(),
    "i2v": {0},
    "start-end": {0, 32},
    "keyframes": {0, 16, 32},
    "extend": set(range(13)),
    "prepend": set(range(24, 33)),
    "completion": {*range(9), *range(24, 33)},
    "transition": {*range(13), *range(24, 33)},
    "loop": set(range(33)),
}


def shown(path):
    return re.findall(r"!\[[^]]+\]\(([^)]+)\)", path.read_text(encoding="utf-8"))


def test_every_picture_of_a_help_page_is_made_by_the_build():
    made = {f"{page}/wiring.png" for page in WIRING} | set(DIAGRAMS) | set(STRIPS) | set(runs.RUNS) | {FILE}
    assert {file for page in DOCS.glob("*/*.md") for file in shown(page)} == made


def test_the_pictures_of_readme_are_there():
    assert {SHEET, SHOT} <= set(shown(README))
    for file in (SHEET, SHOT):
        with Image.open(ROOT / file) as image:
            assert image.format == "PNG" and 900 < image.width <= 1600


def test_what_is_drawn_is_what_the_help_pages_show():
    for file, picture in drawn().items():
        with Image.open(DOCS / file) as image:
            assert image.size == picture.size, "python dev.py workflows pictures"
            distance = np.abs(np.asarray(image.convert("RGB"), float) - np.asarray(picture, float))
        assert distance.mean() < 2, "python dev.py workflows pictures"


@pytest.mark.parametrize("page", WIRING)
def test_a_drawn_node_has_the_sockets_and_widgets_that_it_has(page):
    boxes, wires = WIRING[page]
    for box in boxes:
        if box.name in SCHEMAS:
            schema = SCHEMAS[box.name]
            assert {*box.inputs, *box.widgets} <= {each.id for each in schema.inputs}
            assert set(box.outputs) <= {each.display_name or each.id for each in schema.outputs}
    for start, output, end, target in wires:
        assert boxes[start].is_file or boxes[end].is_file or output in boxes[start].outputs and target in boxes[end].inputs
    assert any(box.name in SCHEMAS for box in boxes) and all(box.x + box.width + MARGIN <= wiring(page).width for box in boxes)


@pytest.mark.parametrize("task", TASKS)
def test_given_frames_are_those_of_the_graph(task):
    frames = 48 if task == "loop" else 33
    assert given_of(demo_graph(task), frames, ROOT / "assets" / "nano" / "input") == GIVEN[task]
    assert task in NAMES


def test_a_storyboard_says_which_frames_are_given():
    graph = json.loads((ROOT / "workflows" / "api" / "demo_timeline.json").read_text(encoding="utf-8"))
    assert given_of(graph, 33, ROOT) == {0, 16, 32}
    strip = {"class_type": "PusaTimeline", "inputs": {"timeline": "0-8: a.mp4, noise 0..0.3\n16: b.png\n30-last: c.mp4"}}
    assert given_of({"1": strip}, 33, ROOT) == {*range(9), 16, 30, 31, 32}


def test_readme_shows_every_task():
    assert list(ROWS.values()) == list(TASKS) and set(ROWS) <= set(GRAPHS)


def test_given_frames_are_framed_and_no_others():
    grey = [Image.new("RGB", (8, 8), (99, 99, 99))] * 33
    made = page("", [Row("a", "", "", grey, {0, 16}), Row("b", "", "", grey, {32})])
    across, down = (
        range(start, start + count * step, step) for start, count, step in ((LABEL, COUNT, STEP), (HEAD + GAP, 2, HIGH))
    )
    corners = [[made.getpixel((x + 1, y + 1)) for x in across] for y in down]
    assert corners == [[ORANGE if number in (0, 4) else DARK for number in range(9)], [DARK] * 8 + [ORANGE]]
    made = strip(grey, {4}, range(0, 33, 4), above=True)
    bars = [made.getpixel((20 + column * 90, made.height - 12)) for column in range(9)]
    assert [bar == MARK for bar in bars] == [column == 1 for column in range(9)]
    assert made.getpixel((30 + 90, 60)) == (99, 99, 99) != made.getpixel((30, 60))


@pytest.mark.parametrize("file", runs.RUNS)
def test_a_picture_of_a_run_is_that_of_its_graph_cut_at_each_step(file):
    demo, steps = runs.RUNS[file]
    graph = demo_graph(demo)
    made = runs.cut_short(graph, steps, demo)
    (sampler,) = [node["inputs"] for node in graph.values() if node["class_type"] == "PusaKSampler"]
    cuts = [node["inputs"] for node in made.values() if node["class_type"] == "SplitSigmas"]
    assert [cut["step"] for cut in cuts] == list(steps) and len({cut["sigmas"][0] for cut in cuts}) == 1
    levels = made[cuts[0]["sigmas"][0]]["inputs"]
    assert levels["steps"] == sampler["steps"] and levels["shift"] == sampler["shift"]
    assert steps[-1] == sampler["steps"] + levels.get("lag", 0) * (len(runs.FRAMES) - 1), "the last row is the whole run"
    assert all(graph[key] == made[key] for key in set(graph) & set(made))


@pytest.mark.parametrize("file", runs.RUNS)
def test_a_picture_of_a_run_shows_frames_that_leave_the_noise(file):
    """Neighbouring pixels of a noisy frame differ more. Given frames are clean in every row, and all are in the last."""
    demo, steps = runs.RUNS[file]
    step = runs.CELL + runs.GAP
    with Image.open(DOCS / file) as image:
        grey = np.asarray(image.convert("L"), float)

    def noisy(row, column):
        y, x = runs.TOP + row * step + 3, runs.LABEL + column * step + 3
        return np.abs(np.diff(grey[y : y + runs.CELL - 6, x : x + runs.CELL - 6])).mean() > 6

    rows = [sum(noisy(row, column) for row in range(len(steps))) for column in range(len(runs.FRAMES))]
    assert rows == sorted(rows) and rows[-1] < len(steps) and not any(rows[frame // 4] for frame in GIVEN.get(demo, ()))
    assert rows[-1] - rows[0] >= len(steps) // 3, rows
