"""The strip of Timeline (Pusa) in its page: loaded, saved, resized, translated, without its script; the server behind it."""

import json
import urllib.error
import urllib.request

import pytest
from pusa.schedulers.timeline import Item, read_timeline
from strip import LATENT, NODE, SETTLED, START, STATE, agreed, build, graph, item_at, move
from timeline_lines import LINES

BOTH = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
WIDGET = "widgets.find(widget => widget.name === 'timeline')"


@BOTH
def test_the_text_is_the_timeline(editor, nodes2):
    """Typed, loaded, pasted, saved, or set by a tool that knows nothing of the strip."""
    build(editor, START, nodes2)
    before = agreed(editor)
    editor.evaluate(f"id => {{ app.graph.getNodeById(Number(id)).{WIDGET}.value = '4: nano_32.png'; }}", NODE)
    state = agreed(editor)
    assert [(item["first"], item["source"]) for item in state["items"]] == [("4", "nano_32.png")]
    saved = editor.saved()
    editor.evaluate("graph => app.loadGraphData(graph)", saved)
    editor.settle()
    assert agreed(editor)["text"] == state["text"]
    editor.evaluate(
        """id => {
            app.canvas.selectNode(app.graph.getNodeById(Number(id)));
            app.canvas.copyToClipboard();
            app.canvas.pasteFromClipboard();
        }""",
        NODE,
    )
    texts = editor.evaluate(f"() => app.graph.nodes.filter(node => node.type === 'PusaTimeline').map(node => node.{WIDGET}.value)")
    assert texts == ["4: nano_32.png"] * 2
    assert editor.wait("() => document.querySelectorAll('pusa-timeline').length === 2")
    assert before["width"] > 400


def test_width_is_that_of_the_node_in_both_canvases(editor):
    build(editor, START, False)
    widths = []
    for nodes2, size in ((False, 900), (True, 900), (False, 600), (True, 1100), (False, 1100)):
        editor.nodes2(nodes2)
        editor.evaluate(
            "([id, width]) => { const node = app.graph.getNodeById(Number(id)); node.setSize([width, node.size[1]]); }",
            [NODE, size],
        )
        editor.evaluate("() => app.canvas.setDirty(true, true)")
        editor.settle()
        widths.append((size, agreed(editor)["width"]))
    assert all(size - 80 <= width <= size for size, width in widths), widths


@BOTH
def test_it_comes_back_when_the_page_is_loaded_again(editor, server, nodes2):
    build(editor, START, nodes2)
    state = move(editor, agreed(editor), 3, -4)
    editor.evaluate("() => new Promise(done => setTimeout(done, 1500))")  # the page keeps its draft
    for _ in range(10):
        editor.visit(server.url)
        editor.settle()
        editor.forget()  # what any page says as it opens
        again = agreed(editor)
        assert again["text"] == state["text"] and len(again["items"]) == 3


@BOTH
def test_the_length_is_that_of_the_latent(editor, nodes2):
    build(editor, "last: nano_32.png", nodes2)
    x = item_at(agreed(editor), 1)["box"][0]
    editor.evaluate("id => { app.graph.getNodeById(Number(id)).widgets.find(w => w.name === 'length').value = 81; }", LATENT)
    assert (
        "81 frames, 5.1 s; 1 of 21"
        in editor.wait(f"() => {{ const s = ({STATE})(); return s.status.startsWith('81') && s; }}")["status"]
    )
    assert abs(item_at(editor.wait(SETTLED), 1)["box"][0] - x) < 20
    editor.evaluate("id => app.graph.getNodeById(Number(id)).disconnectInput(1)", NODE)
    editor.wait("() => !document.querySelector('pusa-timeline .frames').hidden")


def test_it_speaks_chinese(editor, pictures):
    build(editor, START, True)
    editor.setting("Comfy.Locale", "zh")
    try:
        state = editor.wait(f"() => {{ const state = ({STATE})(); return !/[a-z]/.test(state.status) && state; }}")
        assert "33" in state["status"] and all(
            "Delete" in item["label"] and "frame" not in item["label"] for item in state["items"]
        )
        editor.screenshot(pictures / "timeline-zh.png")
    finally:
        editor.setting("Comfy.Locale", "en")


def test_the_server_refuses_what_is_no_question(server):
    endless = b'{"text": "0-last: a", "length": 1e12, "latent": "", "fps": 0}'
    for body in (b"", b"[]", b"{}", endless, b'{"text": "", "length": "x", "latent": "", "fps": 0}', b"\xff"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(urllib.request.Request(f"{server.url}/pusa/timeline", body))
    asked = {"text": "0: nowhere.png", "length": 33, "latent": "EmptyHunyuanLatentVideo", "fps": 0}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/pusa/timeline", json.dumps(asked).encode())) as answer:
        told = json.loads(answer.read())
    assert (told["factor"], told["rate"]) == (4, 16) and "there is no file `nowhere.png`" in told["mistakes"]["1"]


@BOTH
def test_inside_a_subgraph_it_is_the_same(editor, nodes2):
    build(editor, START, nodes2)
    editor.evaluate(
        """id => {
            const node = app.graph.getNodeById(Number(id)), { subgraph } = app.graph.convertToSubgraph(new Set([node]));
            app.canvas.setGraph(subgraph);
        }""",
        NODE,
    )
    editor.wait("() => document.querySelector('pusa-timeline')?.querySelectorAll('.item').length === 3")
    editor.evaluate("() => { const card = document.querySelectorAll('pusa-timeline .item')[1]; card.focus(); }")
    editor.press("ArrowLeft")
    found = "() => Object.values(window.lastPrompt).find(node => node.class_type === 'PusaTimeline').inputs.timeline"
    editor.evaluate("async () => { window.lastPrompt = (await app.graphToPrompt()).output; }")
    assert "\n12: nano_16.png, noise 0.4  # the middle\n" in editor.evaluate(found)
    editor.evaluate("() => app.canvas.setGraph(app.graph.rootGraph ?? app.graph)")
    assert editor.errors == []


def test_the_page_reads_a_text_as_python_does(editor):
    """Items of the script and of the package, over all spellings; and what the script writes is what the package writes."""
    module = f"/extensions/{folder(editor)}/timeline/lines.js"
    found = editor.evaluate(
        """async ([module, lines]) => {
            const { read, print } = await import(module);
            return lines.map(line => read(line)[0].item).map(item => item && { ...item, printed: print({ ...item, comment: '' }) });
        }""",
        [module, LINES],
    )
    assert sum(item is not None for item in found) > 20
    for line, item in zip(LINES, found):
        (own,) = read_timeline(line)[0] or (None,)
        assert (item is None) == (own is None), line
        if own:
            names = ("first", "last", "source", "socket", "begin", "noise", "fit", "encode", "resample", "renoise", "renoiseSteps")
            assert Item(*(item[name] for name in names)) == own and item["printed"] == str(own), line


def folder(editor) -> str:
    """The pack's folder as the server lists it."""
    listed = editor.evaluate(
        "async () => (await (await fetch('/extensions')).json()).find(path => path.endsWith('timeline/lines.js'))"
    )
    return listed.split("/")[2]


def test_without_the_script_the_text_runs(editor, server):
    """The script is kept from the page: the node has its text, and no strip. With it, the page says nothing more as it opens."""
    said = []
    for blocked in (True, False):
        editor.block("**/timeline/extension.js", blocked)
        editor.errors.clear()
        editor.visit(server.url)
        said.append([line for line in editor.errors if "extension.js" not in line and "ERR_FAILED" not in line])
        if blocked:
            editor.nodes2(False)
            text = "0: nano_00.png, noise 0"
            editor.evaluate("([api, name]) => { app.clean(); app.loadApiJson(api, name); }", [graph(text), "timeline"])
            editor.settle()
            assert editor.evaluate("() => document.querySelector('pusa-timeline') === null")
            assert editor.prompt()[NODE]["inputs"]["timeline"] == text
            editor.finished(editor.queue())
    assert sorted(said[0]) == sorted(said[1])
