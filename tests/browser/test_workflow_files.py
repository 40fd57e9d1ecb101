"""What a program can read from the shipped workflows without a page."""

import asyncio
import json
import re
import urllib.request

import host_comfyui
import pytest

from cli.client import ComfyClient
from devtools.weights.models import MODELS, JoinedFile, ModelFile
from workflows.source.graph import NOTE, file_url
from workflows.source.page.build import all_graphs
from workflows.source.words.titles import TITLES

ROOT = host_comfyui.ROOT
FOLDER = ROOT / "workflows"
NAMES = sorted(TITLES)
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
OURS = {"cnr_id": re.search(r'^name = "(.+)"$', PROJECT, re.M)[1], "ver": re.search(r'^version = "(.+)"$', PROJECT, re.M)[1]}
FILES = {file for files in MODELS.values() for file in files}
LINKS = {(file.name, file_url(file), file.folder) for file in FILES if isinstance(file, ModelFile)}
JOINED = {file.name: file for file in FILES if isinstance(file, JoinedFile)}
CONDITIONED = {"PusaTimeline", "PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames"}
SEEDED = {"PusaKSampler", "PusaExtendVideo", "PusaTransition", "PusaRollingVideo", "RandomNoise"}
WITHOUT_VIDEO = {"merge_lora", "prompt_files"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def nodes_of(name):
    return read(FOLDER / f"{TITLES[name]}.json")["nodes"]


def note_of(name):
    """The text of a graph's note."""
    (note,) = [node["widgets_values"][0] for node in nodes_of(name) if node["type"] == "MarkdownNote" and node["title"] == NOTE]
    return note


def ask(server, question):
    """``await question(client)`` against the server."""

    async def connected():
        async with ComfyClient(server.url) as client:
            return await question(client)

    return asyncio.run(connected())


@pytest.fixture(scope="module")
def known(server):
    """Every node that the server has."""
    return ask(server, lambda client: client.get("/object_info"))


@pytest.mark.parametrize("graph", all_graphs(), ids=lambda graph: graph.name)
def test_the_files_are_what_the_source_says(graph):
    """Whoever changes a graph in workflows/source builds it, too."""
    twin = read(FOLDER / "api" / f"{graph.name}.json")
    muted = {str(graph.ids()[key]) for key, node in graph.nodes.items() if node.muted}
    wanted = {id: node for id, node in graph.api().items() if id not in muted}
    assert {id: node["class_type"] for id, node in twin.items()} == {id: node["class_type"] for id, node in wanted.items()}
    for id, node in wanted.items():
        assert node["inputs"].items() <= twin[id]["inputs"].items(), "run: python dev.py workflows"
    assert note_of(graph.name) == graph.note, "run: python dev.py workflows"


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_has_all_that_belongs_to_it(name, known):
    """Version, twin, thumbnail, note, and the origin of every node."""
    assert re.fullmatch("[a-z0-9_]+", name) and re.fullmatch("[A-Za-z0-9_.-]+", TITLES[name])
    workflow = read(FOLDER / f"{TITLES[name]}.json")
    assert workflow["version"] == 0.4 and (FOLDER / "api" / f"{name}.json").exists()
    thumbnail = (FOLDER / f"{TITLES[name]}.jpg").read_bytes()
    assert thumbnail.startswith(b"\xff\xd8") and len(thumbnail) < 30_000
    types = {node["type"] for node in workflow["nodes"]}
    assert types - {"MarkdownNote"} <= known.keys()
    for node in workflow["nodes"]:
        core = not node["type"].startswith("Pusa")
        assert known.get(node["type"], {}).get("python_module", "nodes").startswith(("nodes", "comfy_extras")) or not core
        assert node["properties"]["cnr_id"] == ("comfy-core" if core else OURS["cnr_id"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", node["properties"]["ver"]) and (core or node["properties"]["ver"] == OURS["ver"])
    if name not in WITHOUT_VIDEO:
        assert "SaveVideo" in types
    if types & CONDITIONED:
        assert "PusaConditionPlot" in types


@pytest.mark.parametrize("name", NAMES)
def test_the_note_says_what_where_and_how(name):
    """What the graph does, its files with links and folders, and three settings that its nodes have."""
    note = note_of(name)
    assert note.startswith("# ") and "## Files" in note and "Needs the custom node pack **Pusa for ComfyUI**." in note
    assert "`" not in note  # inline code cannot be read in a note of Nodes 2.0
    assert re.findall(r"^(\d)\. ", note.split("## Worth changing")[1], re.M) == ["1", "2", "3"]
    linked = {(match[1], match[2], match[3]) for match in re.finditer(r"\[(.+?)\]\((\S+?)\) to \*\*models/(\w+)\*\*", note)}
    wanted = {tuple(model.values()) for node in nodes_of(name) for model in node["properties"].get("models", [])}
    assert linked == wanted <= LINKS
    values = [value for node in nodes_of(name) for value in node.get("widgets_values") or [] if isinstance(value, str)]
    for file in (JOINED[value] for value in values if value in JOINED):
        assert f"- {file.name} to **models/{file.folder}**" in note and all(file_url(half) in note for half in file.halves)


@pytest.mark.parametrize("name", NAMES)
def test_every_loader_knows_its_files(name):
    """Each file that a widget names and that is downloaded is in the node's list, so that ComfyUI can offer it."""
    for node in nodes_of(name):
        named = {value for value in node.get("widgets_values") or [] if isinstance(value, str)}
        official = {link for link in LINKS if link[0] in named}
        given = {(model["name"], model["url"], model["directory"]) for model in node["properties"].get("models", [])}
        assert given == official
        if node["type"].startswith(("UNET", "VAEL", "CLIPL", "PusaM", "PusaLora")) and "demo_" not in name:
            assert given or named & JOINED.keys()


@pytest.mark.parametrize("name", NAMES)
def test_each_run_draws_another_seed(name):
    """The Run button makes a new video each time, as in ComfyUI's own templates; the first is that of seed 0."""
    for node in nodes_of(name):
        values = list(map(str, node.get("widgets_values") or []))
        if node["type"] in SEEDED:
            assert "randomize" in values and "0" in values


@pytest.mark.parametrize("name", NAMES)
def test_the_server_accepts_the_twin(server, name):
    """ComfyUI's own check of a prompt has nothing to say, with files of the right names in place."""

    async def accepted(client):
        prompt_id = await client.queue(read(FOLDER / "api" / f"{name}.json"))
        await client.cancel(prompt_id)

    ask(server, accepted)


def test_every_node_is_used(known):
    used = {node["type"] for name in NAMES for node in nodes_of(name)}
    assert {name for name in known if name.startswith("Pusa")} <= used


def test_the_templates_are_offered_with_their_pictures(server):
    """ComfyUI lists every workflow under the pack's name and serves its thumbnail."""
    listed = ask(server, lambda client: client.get("/workflow_templates"))
    assert sorted(listed["pusa"]) == sorted(TITLES.values()) == sorted(path.stem for path in FOLDER.glob("*.json"))
    for title in TITLES.values():
        with urllib.request.urlopen(f"{server.url}/api/workflow_templates/pusa/{title}.jpg") as answer:
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert answer.read() == (FOLDER / f"{title}.jpg").read_bytes()
