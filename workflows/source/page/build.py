"""Workflows from graphs: the page builds them from their API format, we give them places, the page saves and converts them."""

import hashlib
import json
import re
import uuid
from pathlib import Path

from PIL import Image

from devtools.console import say
from devtools.places import REPOSITORY
from devtools.weights.models import ModelFile

from ..demo import demo_graphs
from ..drawing.thumbnails import demo_card, wan_thumbnail
from ..families import family_graphs
from ..graph import ABOUT, OPEN, Graph, file_url
from ..mochi import mochi_graphs
from ..others import other_graphs
from ..wan import wan_graphs
from .editor import Editor
from .front import made_by
from .layout import arrange
from .route import Router
from .wires import wires

GREEN, BLUE = "#8A8", "#3f789e"
# Titles, sizes, properties and the note, on a graph that the page made from its API format.
FINISH = """([nodes, notes]) => {
    for (const [id, wanted] of Object.entries(nodes)) {
        const node = app.graph.getNodeById(Number(id));
        Object.assign(node.properties, wanted.properties);
        for (const widget of node.widgets ?? []) if (widget.name === 'control_after_generate') widget.value = 'randomize';
        node.mode = wanted.mode;
        node.setSize([wanted.width, Math.max(wanted.height, node.computeSize()[1])]);
    }
    // Of a widget that a number comes to the page keeps its own value, and shows it.
    for (const node of app.graph.nodes) {
        node.inputs.forEach((slot, index) => {
            const origin = slot.widget && node.getInputNode(index);
            const widget = origin?.type.startsWith('Primitive') && node.widgets.find(each => each.name === slot.widget.name);
            if (widget) widget.value = origin.widgets[0].value;
        });
    }
    for (const note of notes) {
        const made = LiteGraph.createNode('MarkdownNote');
        app.graph.add(made);
        made.title = note.title;
        [made.color, made.bgcolor] = ['#222', '#000'];
        made.widgets[0].value = note.text;
        Object.assign(made.properties, note.properties);
        made.pos = [0, 30];
        made.setSize(note.size);
        // The input of its widget, which the page leaves out, has the label that a form shows.
        if (note.label) Object.assign(made.addInput('text', 'STRING'), { label: note.label, widget: { name: 'text' } });
    }
}"""


def all_graphs() -> list[Graph]:
    """Every graph that is shipped."""
    return [*wan_graphs(), *family_graphs(), *mochi_graphs(), *other_graphs(), *demo_graphs()]


def versions(url_stats: dict) -> dict:
    """Version of ComfyUI, and ours."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    own = {key: re.search(rf'^{key} = "(.+)"$', project, re.M)[1] for key in ("name", "version")}
    return {"core": url_stats["system"]["comfyui_version"], **own}


def properties(class_type: str, files: list, version: dict) -> dict:
    """What a node says of its origin and of the files it needs; a file that has to be joined has no address."""
    ours = class_type.startswith("Pusa")
    made = {"cnr_id": version["name"] if ours else "comfy-core", "ver": version["version"] if ours else version["core"]}
    models = [{"name": file.name, "url": file_url(file), "directory": file.folder} for file in files if isinstance(file, ModelFile)]
    if models:
        made["models"] = models
    return made


def draft(editor: Editor, graph: Graph, version: dict) -> dict:
    """The graph as the page builds it, without places."""
    ids = graph.ids()
    wanted = {
        str(ids[key]): {
            "properties": properties(node.class_type, node.files, version),
            "mode": 2 if node.muted else 0,
            "width": node.width,
            "height": node.height,
        }
        for key, node in graph.nodes.items()
    }
    origin = properties("MarkdownNote", [], version)
    notes = [
        {"title": title, "text": text, "size": size, "properties": origin, "label": ABOUT if title == ABOUT else ""}
        for title, text, size in graph.notes()
    ]
    # The page keeps previews by the number of their node: cleaned away, they do not come to the nodes of the next graph.
    editor.evaluate("([api, name]) => { app.clean(); app.loadApiJson(api, name); }", [graph.api(), graph.title])
    editor.settle()
    editor.evaluate(FINISH, [wanted, notes])
    return steady(editor.saved(), graph.name)


def steady(workflow: dict, name: str) -> dict:
    """The same workflow without what differs from one build to the next: identity, view, numbers of links."""
    digest = hashlib.sha256(name.encode()).digest()[:16]
    workflow |= {"id": str(uuid.UUID(bytes=digest, version=4)), "revision": 0}
    workflow["extra"].pop("ds", None)
    workflow["nodes"].sort(key=lambda node: node["id"])
    for node in workflow["nodes"]:
        in_order(node, workflow["links"])
    links = sorted(workflow["links"], key=lambda link: (link[3], link[4]))
    number = {link[0]: new for new, link in enumerate(links, 1)}
    workflow["links"] = [[number[link[0]], *link[1:]] for link in links]
    workflow["last_link_id"] = len(links)
    for bend in workflow["extra"].get("reroutes", []):
        bend["linkIds"] = [number[link] for link in bend["linkIds"]]
    for link in workflow["extra"].get("linkExtensions", []):
        link["id"] = number[link["id"]]
    for node in workflow["nodes"]:
        for slot in node.get("inputs", []):
            slot["link"] = number.get(slot.get("link"))
        for slot in node.get("outputs", []):
            slot["links"] = sorted(number[link] for link in slot.get("links") or []) or None
    return workflow


def in_order(node: dict, links: list) -> None:
    """Put the sockets of a growing input together, by their numbers; the page leaves them as they came."""
    slots, first = node.get("inputs", []), {}

    def place(index: int) -> tuple:
        numbered = re.fullmatch(r"(.+\..+?)(\d+)", slots[index]["name"])
        return (first.setdefault(numbered[1], index), int(numbered[2])) if numbered else (index, 0)

    order = sorted(range(len(slots)), key=place)
    slots[:] = [slots[index] for index in order]
    for link in links:
        if link[3] == node["id"]:
            link[4] = order.index(link[4])


def sizes(workflow: dict, boxes: dict) -> dict:
    """Width and height of each node, the larger of its saved and its drawn size."""
    title = 30
    saved = {node["id"]: node["size"] for node in workflow["nodes"]}
    return {id: (max(saved[id][0], box[2]), max(saved[id][1], box[3] - title)) for id, box in boxes.items()}


def place(workflow: dict, graph: Graph, measured: dict) -> dict:
    """Write places and groups into a workflow."""
    ids = graph.ids()
    places, groups = arrange(graph, {key: measured[id] for key, id in ids.items()})
    position = {ids.get(key, key): list(place) for key, place in places.items()}
    for node in workflow["nodes"]:
        node["pos"] = position[node["id"] if node["id"] in position else node["title"]]
    workflow["groups"] = [
        {"id": number, "title": title, "bounding": box, "color": GREEN if title in OPEN else BLUE, "flags": {}}
        for number, (title, box) in enumerate(groups, 1)
    ]
    return workflow


def lead(workflow: dict, name: str, drawn: list) -> None:
    """Write the bends of wires that would lie behind a node into a workflow that has places.

    Args:
        drawn: (boxes, wires) of each canvas.
    """
    router = Router([boxes for boxes, _ in drawn])
    bends, last = [], []
    for same in zip(*(lines for _, lines in drawn), strict=True):
        number, parent = same[0].number, None
        way = router.way([wire.ends for wire in same], same[0].own)
        if way is None:
            say(f"{name}: no way for the wire between the nodes {same[0].own}; it stays straight")
        for point in way or []:
            bend = {"id": len(bends) + 1, "pos": point, "linkIds": [number]}
            bends.append(bend if parent is None else bend | {"parentId": parent})
            parent = bend["id"]
        if parent is not None:
            last.append({"id": number, "parentId": parent})
    if bends:
        workflow["extra"] |= {"reroutes": bends, "linkExtensions": last}


def build(editor: Editor, version: dict, graphs: list[Graph], folder: Path) -> None:
    """Write the workflow and the API twin of every graph.

    The page draws each graph on both canvases, so that its places leave room for the nodes of either kind, and its wires pass them.
    """
    editor.nodes2(False)
    drafts = {graph.name: draft(editor, graph, version) for graph in graphs}
    drawn = {}
    editor.nodes2(True)
    for graph in graphs:
        workflow = drafts[graph.name]
        editor.open(workflow, graph.title)
        place(workflow, graph, sizes(workflow, editor.boxes()))
        editor.open(workflow, graph.title)
        drawn[graph.name] = editor.boxes(), wires(editor)
    editor.nodes2(False)
    (folder / "api").mkdir(parents=True, exist_ok=True)
    for graph in graphs:
        workflow = drafts[graph.name]
        editor.open(workflow, graph.title)
        lead(workflow, graph.name, [(editor.boxes(), wires(editor)), drawn[graph.name]])
        editor.open(workflow, graph.title)
        write(folder / f"{graph.title}.json", steady(editor.saved(), graph.name))
        write(folder / "api" / f"{graph.name}.json", editor.prompt())


def thumbnail(editor: Editor, base: Path, graph: Graph, folder: Path) -> Image.Image:
    """The thumbnail of a graph; a demo is run for it."""
    if "demo_" not in graph.name:
        return wan_thumbnail(graph)
    workflow = json.loads((folder / f"{graph.title}.json").read_text(encoding="utf-8"))
    workflow["extra"]["linearMode"] = False  # of a form the graph behind it
    editor.open(workflow, graph.title)
    label = "App, no download" if graph.name.startswith("app_") else "Demo, no download"
    return demo_card(made_by(editor, base), editor.prompt(), base / "input", label)


def write(path: Path, content: dict) -> None:
    """A JSON file in the form that git shows changes of well."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=True) + "\n", encoding="utf-8")
