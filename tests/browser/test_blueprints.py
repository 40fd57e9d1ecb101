"""The blueprints: found in ComfyUI's library, placed on a canvas, with the inputs that a person sets, and run from the page."""

import asyncio
import json
import shutil

import av
import embedded
import host_comfyui
import pytest

from cli.client import ComfyClient
from devtools.places import REPOSITORY
from workflows.source.blueprints import BLUEPRINTS
from workflows.source.graph import FILES
from workflows.source.wan import SIZE

FOLDER = host_comfyui.ROOT / "subgraphs"
WORDS = {blueprint.words.name: blueprint.words for blueprint in BLUEPRINTS}
SIZES = dict(zip(("width", "height", "length"), SIZE))
MODELS = {
    "high_noise_model": "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    "low_noise_model": "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
    "high_noise_lora": "high_noise_pusa.safetensors",
    "low_noise_lora": "low_noise_pusa.safetensors",
    "high_noise_lightx2v": "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
    "low_noise_lightx2v": "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors",
    "text_encoder": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "vae": "wan_2.1_vae.safetensors",
}
# What comes from other nodes, and what is set on the node with its default.
INPUTS = {
    "Image to Video (Pusa)": (["image"], {"prompt": "", "noise": "0.2", **SIZES, "seed": 0, **MODELS}),
    "Start-End to Video (Pusa)": (
        ["start_image", "end_image"],
        {"prompt": "", "noise": "0.2, 0.5", **SIZES, "seed": 0, **MODELS},
    ),
    "Extend Video (Pusa)": (
        ["clip"],
        {"prompt": "", "new_frames": 68, "overlap": 13, "hops": 1, "noise": "0.2, 0.4, 0.4, 0.4", "seed": 0, **MODELS},
    ),
}
NANO = {
    "high_noise_model": "pusa_nano_wan.safetensors",
    "low_noise_model": "pusa_nano_wan_copy.safetensors",
    "high_noise_lora": "pusa_nano_lora.safetensors",
    "low_noise_lora": "pusa_nano_lora.safetensors",
    "high_noise_lightx2v": "none",
    "low_noise_lightx2v": "none",
    "vae": "pusa_nano_vae.safetensors",
}
NODE = "app.graph.nodes.find(node => node.isSubgraphNode())"
READ = f"""() => {{
    const node = {NODE};
    return {{
        title: node.title,
        sockets: node.inputs.filter(slot => !slot.widget).map(slot => slot.name),
        widgets: Object.fromEntries(node.widgets.map(widget => [widget.name, widget.value])),
        outputs: node.outputs.map(slot => [slot.name, slot.type]),
    }};
}}"""

SEARCH = ".side-bar-panel input"
TYPE = """([selector, text]) => {
    const box = document.querySelector(selector);
    box.value = text;
    box.dispatchEvent(new Event('input', { bubbles: true }));
}"""
# A picture for every socket, and a file for the video.
SURROUND = f"""sockets => {{
    const node = {NODE}, save = LiteGraph.createNode('SaveVideo'), [x, y] = node.pos;
    for (const [index, socket] of sockets.entries()) {{
        const picture = LiteGraph.createNode('LoadImage');
        app.graph.add(picture);
        picture.pos = [x - 400, y + 400 * index];
        picture.connect(0, node, node.findInputSlot(socket));
    }}
    app.graph.add(save);
    save.pos = [x + node.size[0] + 100, y];
    node.connect(0, save, 0);
}}"""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def ask(server, question):
    """``await question(client)`` against the server."""

    async def connected():
        async with ComfyClient(server.url) as client:
            return await question(client)

    return asyncio.run(connected())


def test_the_server_offers_them_under_names_of_their_own(server):
    """Names are what ComfyUI knows blueprints by; its own must not be hidden."""
    listed = ask(server, lambda client: client.get("/global_subgraphs")).values()
    ours = {entry["name"] for entry in listed if entry["info"]["node_pack"] == "custom_nodes.pusa"}
    assert ours == set(INPUTS) == set(WORDS) == {path.stem for path in FOLDER.glob("*.json")}
    assert ours.isdisjoint(entry["name"] for entry in listed if entry["source"] == "templates")


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.words.name)
def test_the_files_are_what_the_source_says(blueprint):
    """Whoever changes a blueprint in workflows/source builds it, too."""
    graph = blueprint.graph()
    outside = {graph.ids()[stand_in] for _, _, stand_in in blueprint.sockets}
    wanted = {graph.ids()[key]: node.class_type for key, node in graph.nodes.items()}
    (inside,) = read(FOLDER / f"{blueprint.words.name}.json")["definitions"]["subgraphs"]
    assert {node["id"]: node["type"] for node in inside["nodes"]} == {id: wanted[id] for id in wanted.keys() - outside}


@pytest.mark.parametrize("name", INPUTS)
def test_a_blueprint_says_what_it_is_and_where_its_files_come_from(name):
    blueprint = read(FOLDER / f"{name}.json")
    (node,), (inside,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    words = WORDS[name]
    assert inside["name"] == name and node["type"] == inside["id"]
    assert inside["category"] == words.category and inside["description"] == words.description
    assert blueprint["extra"]["BlueprintDescription"] == words.description
    assert blueprint["extra"]["BlueprintSearchAliases"] == list(words.aliases) and len(words.aliases) >= 2
    models = {model["name"] for each in inside["nodes"] for model in each["properties"].get("models", [])}
    assert models == set(MODELS.values()) <= set(FILES)
    for each in [node, *inside["nodes"]]:
        assert each["properties"]["cnr_id"] and each["properties"]["ver"]


@pytest.fixture
def canvas(editor):
    """An empty graph."""
    editor.open({"version": 0.4, "last_node_id": 0, "last_link_id": 0, "nodes": [], "links": []}, "empty")
    return editor


def place(editor, name):
    """Find a blueprint in the node library by its name, click on it, and click on the canvas."""
    editor.evaluate("() => { app.extensionManager.sidebarTab.activeSidebarTabId = 'node-library'; }")
    editor.wait(f'() => document.querySelector("{SEARCH}")')
    editor.evaluate(TYPE, [SEARCH, name])
    editor.click(f"[draggable='true']:has-text('{name}')")
    editor.click("#graph-canvas")
    editor.wait(f"() => {NODE}")
    editor.evaluate("() => { app.extensionManager.sidebarTab.activeSidebarTabId = null; }")
    editor.settle()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_a_blueprint_comes_from_the_library_with_the_inputs_that_a_person_sets(canvas, pictures, name, nodes2):
    canvas.nodes2(nodes2)
    place(canvas, name)
    kind = "nodes2" if nodes2 else "classic"
    canvas.screenshot(pictures / f"{name} {kind}.png")
    sockets, widgets = INPUTS[name]
    assert canvas.evaluate(READ) == {"title": name, "sockets": sockets, "widgets": widgets, "outputs": [["video", "VIDEO"]]}
    assert canvas.errors == [] and canvas.messages() == [] and canvas.missing_nodes() == [] and canvas.missing_models() == []
    canvas.evaluate(f"() => {{ const node = {NODE}; app.canvas.openSubgraph(node.subgraph, node); }}")
    canvas.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    canvas.screenshot(pictures / f"{name} inside {kind}.png")
    canvas.evaluate("() => { app.canvas.setGraph(app.graph); }")
    assert canvas.errors == [] and canvas.messages() == []


@pytest.mark.parametrize("name", ["Image to Video (Pusa)", "Start-End to Video (Pusa)"])
def test_a_blueprint_runs_from_the_page(canvas, base, pictures, name):
    """With the files of the embedded model in place of the official ones; they are chosen on the node."""
    models = base / "models" / "diffusion_models"
    shipped = REPOSITORY / "assets" / "nano" / "models" / "diffusion_models" / NANO["high_noise_model"]
    shutil.copy(shipped, models / NANO["low_noise_model"])  # one file twice is no pair
    canvas.nodes2(False)
    place(canvas, name)
    canvas.evaluate(SURROUND, INPUTS[name][0])
    embedded.use(canvas, {**NANO, "width": 64, "height": 64, "length": 33}, inside=True)
    outputs = canvas.finished(canvas.queue())
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    with av.open(str(base / "output" / file["subfolder"] / file["filename"])) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(64, 64)] * 33
    canvas.screenshot(pictures / f"{name} after.png")
    assert canvas.messages() == []
