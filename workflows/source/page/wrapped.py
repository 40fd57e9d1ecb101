"""Graphs behind something simpler: a form (app mode), or one node (a blueprint). Built from what the page makes of the graph."""

import json
import tempfile
from pathlib import Path

from ..apps import App
from ..blueprints import Blueprint
from ..graph import Graph
from .build import build, properties, steady, write
from .editor import Editor

LABEL = """lines => {
    for (const [id, widget, label, limits] of lines) {
        const node = app.graph.getNodeById(id);
        Object.assign(node.properties, limits);
        node.inputs.find(slot => slot.widget?.name === widget).label = label;
    }
}"""
FORM = "form => { Object.assign(app.graph.extra, form); }"
FIT = "() => { const [node] = app.graph.nodes; node.setSize([520, node.computeSize()[1]]); }"


def placed(editor: Editor, version: dict, graphs: list[Graph]) -> list[dict]:
    """The graphs as workflows, with places."""
    with tempfile.TemporaryDirectory() as folder:
        build(editor, version, graphs, Path(folder))
        return [json.loads((Path(folder) / f"{graph.title}.json").read_text(encoding="utf-8")) for graph in graphs]


def build_apps(editor: Editor, version: dict, apps: list[App], folder: Path) -> None:
    """Write the workflow with its form and the API twin of every app."""
    (folder / "api").mkdir(parents=True, exist_ok=True)
    for app, workflow in zip(apps, placed(editor, version, [app.graph for app in apps])):
        name = app.graph.name
        editor.open(workflow, app.graph.title)
        editor.evaluate(LABEL, app.lines())
        editor.evaluate(FORM, app.form())
        write(folder / f"{app.graph.title}.json", steady(editor.saved(), name))
        write(folder / "api" / f"{name}.json", editor.prompt())


def build_blueprints(editor: Editor, version: dict, blueprints: list[Blueprint], folder: Path) -> None:
    """Write the file of every blueprint; its name is the node's."""
    folder.mkdir(parents=True, exist_ok=True)
    for blueprint, workflow in zip(blueprints, placed(editor, version, [each.graph() for each in blueprints])):
        name = blueprint.words.name
        editor.open(workflow, name)
        editor.open(blueprint.wrap(whole(editor), properties("Pusa", [], version)), name)
        editor.evaluate(FIT)
        finished = steady(whole(editor), name)
        finished["definitions"]["subgraphs"][0]["category"] = blueprint.words.category  # the page reads it, and does not save it
        write(folder / f"{name}.json", finished)


def whole(editor: Editor) -> dict:
    """The page's graph with every input of every node, also those that a saved workflow leaves out.

    A blueprint needs them: the page does not number its links anew when it is placed on a canvas.
    """
    return json.loads(editor.evaluate("() => JSON.stringify(app.graph.serialize())"))
