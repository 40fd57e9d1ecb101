"""README as a front page, and the links of every page."""

import json
import re
from functools import cache
from urllib.parse import unquote

import host_comfyui
import nodes
import pytest
from comfy_extras.nodes_hunyuan import EmptyHunyuanLatentVideo
from comfy_extras.nodes_video import CreateVideo, SaveVideo

from devtools.pages import PARTS, README, SHEET, SHOT, WORKFLOWS, part, project, title, with_part

ROOT = host_comfyui.ROOT
DOCS = ROOT / "web" / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cli/README.md", "training/README.md", "assets/nano/README.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
    *sorted(DOCS.glob("*/*.md")),
]
TEXT = README.read_text(encoding="ascii")


def links(text):
    """Targets of the links and pictures of a page that stay in the repository."""
    text = re.sub(r"^    .*$|`[^`]*`", "", text, flags=re.M)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?://", target)]


@cache
def anchors(path):
    """The headings of a page as links name them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page):
    folder = DOCS if page.is_relative_to(DOCS) else page.parent
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = unquote(target).partition("#")
        file = folder / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_readme_is_a_front_page():
    heads = re.findall(r"^## (.*)$", TEXT, re.M)
    assert len(TEXT.splitlines()) <= 250
    assert heads[:4] == ["Does it fit my card", "Install", "Three steps to the first video", "Ready graphs"]
    assert TEXT.split("## ")[0].count("![") == 1


@pytest.mark.parametrize("name", PARTS)
def test_readme_has_the_parts_that_follow_from_the_files(name):
    assert part(TEXT, name) == PARTS[name](), "python dev.py readme"


def test_every_ready_graph_is_linked_once():
    linked = [unquote(target) for target in links(part(TEXT, "graphs"))]
    assert sorted(linked) == sorted(f"workflows/{path.name}" for path in WORKFLOWS.glob("*.json"))


@pytest.mark.parametrize(
    ("stem", "shown"),
    [
        ("Image-to-Video_Wan2.2_4-steps", ("Wan2.2, 4 steps", "Image to Video")),
        ("App_Image-to-Video_Wan2.1", ("App", "Image to Video, Wan2.1")),
        ("Merge-LoRA_Wan2.1", ("Wan2.1", "Merge LoRA")),
    ],
)
def test_a_file_name_is_the_title_of_a_graph(stem, shown):
    assert title(WORKFLOWS / f"{stem}.json") == shown


def test_the_address_is_that_of_pyproject_everywhere_or_nowhere():
    address = project("Repository")
    notes = [
        widget
        for path in WORKFLOWS.glob("*.json")
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]
        if node["type"] == "MarkdownNote"
        for widget in node["widgets_values"]
    ]
    cloned = {target for text in [TEXT, *notes] for target in re.findall(r"git clone (\S+)", text)}
    assert notes and cloned == {address or "ADDRESS"}
    assert ("has no fixed one yet" in TEXT) == (address is None)


def test_the_licence_and_the_paper_are_those_of_pyproject():
    assert "Apache-2.0" in TEXT and "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
    assert project("Paper") in TEXT and project("Paper").rpartition("/")[2] in TEXT.split("## Licence")[1]


def test_nodes_have_the_names_of_the_menu():
    """A graph built by these words finds each node under its name."""
    ours = {node.define_schema().display_name for node in host_comfyui.all_nodes()}
    core = {node.define_schema().display_name for node in (EmptyHunyuanLatentVideo, CreateVideo, SaveVideo)}
    blueprints = {path.stem for path in (ROOT / "subgraphs").glob("*.json")}
    named = set(re.findall(r"\*\*([^*]+ \(Pusa\))\*\*", " ".join(TEXT.split())))
    assert len(named) > 12 and named <= ours | blueprints
    by_hand = TEXT.split("## A graph by hand")[1].split("## ")[0]
    assert re.findall(r"^(\d)\.", by_hand, re.M) == list("123456")
    assert set(re.findall(r"\*\*([^*]+)\*\*", by_hand)) <= ours | core | set(nodes.NODE_DISPLAY_NAME_MAPPINGS.values())


def test_every_picture_of_readme_is_made_by_the_build():
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    made = {SHEET, SHOT} | {f"workflows/{path.stem}.jpg" for path in WORKFLOWS.glob("*.json")}
    assert shown and all(file in made or file.startswith("web/docs/") for file in shown)


def test_a_part_of_a_page_is_written_and_read():
    text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n<!-- y -->\n<!-- end of y -->\n"
    assert part(with_part(text, "x", "new\nlines"), "x") == "new\nlines"
    assert with_part(with_part(text, "x", "new"), "x", "old") == text
