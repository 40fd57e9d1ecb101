"""Graphs in the Chinese page: names of our nodes and of what they have are Chinese, and none is cut off."""

import json
import re

import host_comfyui
import pytest

from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
GRAPHS = ("demo_keyframes", "demo_extend", "demo_timeline", "wan22_lightx2v_completion", "skyreels_v2_df_async")
CHINESE = "[\\u4e00-\\u9fff]"
# Each text of a node by itself: what it reads, and whether a part of it is hidden.
TEXTS = """() => [...document.querySelectorAll('[data-node-id]')].flatMap(node => {
    const type = app.graph.getNodeById(Number(node.dataset.nodeId)).type;
    return [...node.querySelectorAll('*')].filter(each => !each.children.length && each.innerText?.trim()).map(each => {
        const boxes = [each, each.parentElement, each.parentElement.parentElement];
        return [type, each.innerText.trim(), boxes.some(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0
            && getComputedStyle(box).overflowX === 'hidden')];
    });
})"""


@pytest.fixture(scope="module")
def chinese(editor):
    editor.setting("Comfy.Locale", "zh")
    editor.visit(editor.url)
    editor.nodes2(True)
    yield editor
    editor.setting("Comfy.Locale", "en")
    editor.visit(editor.url)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_reads_in_chinese_and_no_name_is_cut(chinese, pictures, name):
    chinese.open(json.loads((FOLDER / f"{TITLES[name]}.json").read_text(encoding="utf-8")), name)
    chinese.screenshot(pictures / f"{name}-zh.png")
    texts = chinese.evaluate(TEXTS)
    translated = [(kind, text, cut) for kind, text, cut in texts if re.search(CHINESE, text)]
    assert len({kind for kind, *_ in translated if kind.startswith("Pusa")}) >= 2 and len(translated) > 20
    assert [(kind, text) for kind, text, cut in translated if cut] == []
