"""The film strip of Timeline (Pusa): whatever is done to it, strip, text, saved graph and API prompt say the same."""

import statistics
import sys
from pathlib import Path

import av
import pytest
import torch
from pusa.schedulers.timeline import parse_timeline
from safetensors.torch import load_file
from strip import DROP, FILES, LATENT, LENGTH, START, STATE, agreed, build, frame_at, item_at, middle, move, stepped

from devtools.places import REPOSITORY

BOTH = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
WIDGET = "widgets.find(widget => widget.name === 'timeline')"


@BOTH
def test_dropped_dragged_trimmed_and_undone(editor, pictures, nodes2):
    mode = "nodes2" if nodes2 else "classic"
    build(editor, "", nodes2)
    assert agreed(editor)["items"] == []
    editor.screenshot(pictures / f"timeline-empty-{mode}.png")
    editor.evaluate(DROP, [[[name, f"dropped_{mode}_{name}"] for name in FILES], 0.3])
    editor.wait(f"() => ({STATE})().items.length === 3")
    state = agreed(editor)
    assert [(item["first"], item["source"]) for item in state["items"]] == [
        ("0", f"dropped_{mode}_nano_00.png"), ("16", f"dropped_{mode}_nano_16.png"), ("last", f"dropped_{mode}_nano_32.png")
    ]  # fmt: skip
    editor.wait(f"() => ({STATE})().items.every(item => item.pictures.every(width => width > 0))")
    editor.screenshot(pictures / f"timeline-dropped-{mode}.png")
    texts = [state["text"]]

    def did(state: dict) -> dict:
        texts.append(state["text"])
        return state

    state = did(move(editor, state, 2, -8.7))  # to the grid of latent frames
    assert item_at(state, 2)["first"] == "8"
    knob = middle(item_at(state, 2)["knobs"][0])
    height = item_at(state, 2)["box"][3]
    editor.drag([knob, (knob[0], knob[1] - 0.4 * height)])
    state = did(agreed(editor))
    assert item_at(state, 2)["noise"] == "0.6"
    editor.screenshot(pictures / f"timeline-noise-{mode}.png")
    for text in (texts[1], texts[0]):
        stepped(editor, "z", text)
    state = move(editor, agreed(editor), 2, 4)  # the strip of a node that an undo has made anew
    assert item_at(state, 2)["first"] == "20"
    stepped(editor, "z", texts[0])
    stepped(editor, "y", state["text"])


@BOTH
def test_a_clip_is_moved_trimmed_and_given_a_ramp(editor, pictures, nodes2):
    build(editor, START, nodes2)
    state = agreed(editor)
    assert not state["mistakes"]
    editor.wait(f"() => ({STATE})().items.every(item => item.pictures.every(width => width > 0))")
    editor.screenshot(pictures / f"timeline-clip-{'nodes2' if nodes2 else 'classic'}.png")
    clip = item_at(state, 4)
    edge = middle(clip["edges"][0])
    editor.drag([(edge[0], edge[1] - 20), (frame_at(state, 25), edge[1] - 20)])
    state = agreed(editor)
    assert (item_at(state, 4)["first"], item_at(state, 4)["last"]) == ("24", "last")
    state = move(editor, state, 4, -4)
    assert (item_at(state, 4)["first"], item_at(state, 4)["last"]) == ("20", "28")
    clip = item_at(state, 4)
    editor.drag([middle(clip["edges"][1]), (frame_at(state, 40), clip["box"][1] + 20)])
    state = agreed(editor)
    assert item_at(state, 4)["last"] == "last"  # no further than the clip
    right = middle(item_at(state, 4)["knobs"][1])
    editor.drag([right, (right[0], right[1] - 0.3 * clip["box"][3])])
    state = agreed(editor)
    assert item_at(state, 4)["noise"] == "0.5..0.3"
    assert state["text"].startswith(
        "# a film\n0: nano_00.png, noise 0.2\n16: nano_16.png, noise 0.4  # the middle\n20-last: nano_ends.mp4"
    )
    state = move(editor, state, 3, 8)  # onto the clip
    assert item_at(state, 3)["wrong"] and item_at(state, 4)["wrong"] and not item_at(state, 2)["wrong"]
    assert "is given by line 3 already" in state["status"]
    editor.screenshot(pictures / f"timeline-clash-{'nodes2' if nodes2 else 'classic'}.png")


@BOTH
def test_what_cannot_lie_there_is_told_and_stays_told(editor, nodes2):
    """A file that is no picture, no room left, and a drop while the text comes over a link, which is not left to the page."""
    build(editor, "0-last: nano_ends.mp4", nodes2)
    editor.evaluate(DROP, [[["nano_film.txt", "notes.txt"]], 0.5])
    editor.wait(f"() => ({STATE})().status.includes('notes.txt was not uploaded: it is neither a picture nor a video')")
    editor.evaluate(DROP, [[["nano_00.png", "no_room.png"]], 0.5])
    editor.wait(f"() => ({STATE})().status.includes('There is no free place left for no_room.png')")
    assert agreed(editor)["status"].startswith("There is no free place")
    link = "inputs.find(input => input.widget?.name === 'timeline').link = 1"
    editor.evaluate(f"() => {{ document.querySelector('pusa-timeline').node.live.{link}; }}")
    editor.wait("() => document.querySelector('pusa-timeline .hint').textContent.includes('over a link')")
    editor.evaluate(DROP, [[["nano_00.png", "linked.png"]], 0.5])
    assert editor.evaluate(f"() => ({STATE})().text") == "0-last: nano_ends.mp4"


@BOTH
def test_keys_do_it_too(editor, nodes2):
    build(editor, START, nodes2)
    state = agreed(editor)
    editor.evaluate("() => document.querySelectorAll('pusa-timeline .item')[1].focus()")
    for keys, item in (
        ("ArrowRight", ("20", "0.4")), ("ArrowLeft", ("16", "0.4")), ("ArrowUp", ("16", "0.45")), ("ArrowDown", ("16", "0.4")),
    ):  # fmt: skip
        editor.press(keys)
        state = agreed(editor)
        assert (item_at(state, 3)["first"], item_at(state, 3)["noise"]) == item
    editor.evaluate("() => document.querySelectorAll('pusa-timeline .item')[2].focus()")
    editor.press("Shift+ArrowLeft")
    assert item_at(agreed(editor), 4)["last"] == "28"
    assert all("latent frame" in item["label"] and "Arrow keys" in item["label"] for item in state["items"])
    before = agreed(editor)["text"]
    editor.press("Delete")
    state = agreed(editor)
    assert len(state["items"]) == 2 and "nano_ends" not in state["text"]
    assert editor.evaluate("() => app.graph.nodes.length") == 9  # Delete is not for the node
    stepped(editor, "z", before)


@BOTH
def test_files_are_chosen_by_a_double_click(editor, nodes2):
    build(editor, "", nodes2)
    state = agreed(editor)
    files = [REPOSITORY / "assets" / "nano" / "input" / name for name in ("nano_begins.mp4", "nano_00.png")]
    editor.choose(files, (frame_at(state, 0), state["lane"][1] + 20))
    editor.wait(f"() => ({STATE})().items.length === 2")
    clip, picture = parse_timeline(agreed(editor)["text"])
    assert (clip.first, clip.last, clip.begin, clip.noise) == ("0", "12", "end", "0..0.5")
    assert picture.last is None and int(picture.first) > 12


@BOTH
def test_zoomed_it_moves_by_the_frames_under_the_pointer(editor, nodes2):
    build(editor, START, nodes2)
    for scale in (0.5, 1.3):
        editor.evaluate(
            "scale => { app.canvas.ds.scale = scale; app.canvas.ds.offset[0] += 1; app.canvas.setDirty(true, true); }", scale
        )
        editor.settle()
        state = agreed(editor)
        assert item_at(move(editor, state, 3, -8), 3)["first"] == "8"
        assert item_at(move(editor, agreed(editor), 3, 8), 3)["first"] == "16"


def core_encoded() -> dict:
    """Nodes that save what was sampled, and what ComfyUI's own nodes make of the pictures."""
    nodes = {"20": ("SaveLatent", {"samples": ["6", 0], "filename_prefix": "timeline/sampled"})}
    for id, name in (("30", "nano_00"), ("40", "nano_32")):
        load, scale, encode, save = (str(int(id) + step) for step in range(4))
        size = {"upscale_method": "lanczos", "width": 64, "height": 64, "crop": "center"}
        nodes |= {
            load: ("LoadImage", {"image": f"{name}.png"}),
            scale: ("ImageScale", {"image": [load, 0], **size}),
            encode: ("VAEEncode", {"pixels": [scale, 0], "vae": ["2", 0]}),
            save: ("SaveLatent", {"samples": [encode, 0], "filename_prefix": f"timeline/{name}"}),
        }
    return {id: {"class_type": kind, "inputs": inputs, "_meta": {}} for id, (kind, inputs) in nodes.items()}


@BOTH
def test_it_runs_from_the_page_and_clean_frames_are_exact(editor, base, nodes2):
    build(editor, "0: nano_00.png, noise 0\nlast: nano_32.png, noise 0, encode still", nodes2, core_encoded())
    outputs = editor.finished(editor.queue())

    def file(id: str, kind: str) -> Path:
        (found,) = outputs[id][kind]
        return base / "output" / found["subfolder"] / found["filename"]

    with av.open(str(file("9", "images"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == LENGTH
    sampled, first, last = (load_file(file(id, "latents"))["latent_tensor"] for id in ("20", "33", "43"))
    assert torch.equal(sampled[:, :, :1], first) and torch.equal(sampled[:, :, -1:], last)
    assert not torch.equal(sampled[:, :, 1:2], first)
    assert editor.messages() == [] and editor.errors == []


def test_a_drag_of_twelve_pictures_stays_smooth(editor):
    """What a frame costs the page while an item is dragged; the size of the script, and how long it takes to load."""
    build(editor, "\n".join(f"{4 * number}: {FILES[number % 3]}, noise 0.{number % 10}" for number in range(12)), False)
    editor.evaluate(
        "id => { app.graph.getNodeById(Number(id)).widgets.find(widget => widget.name === 'length').value = 81; }", LATENT
    )
    state = editor.wait(f"() => {{ const state = ({STATE})(); return state.items.length === 12 && state; }}")
    editor.evaluate(
        """() => {
            window.costs = [];
            const channel = new MessageChannel();
            let begun = 0;
            channel.port1.onmessage = () => costs.push(performance.now() - begun); // when the frame is drawn
            const tick = () => {
                begun = performance.now();
                channel.port2.postMessage(0);
                if (costs.length < 2000) requestAnimationFrame(tick);
            };
            requestAnimationFrame(tick);
        }"""
    )
    x, y = middle(item_at(state, 5)["box"])
    editor.drag([(x, y - 10), (x + 200, y - 10), (x - 200, y - 10), (x, y - 10)], steps=40)
    cost = statistics.median(editor.evaluate("() => costs.slice(2)"))
    loaded = editor.evaluate(
        """() => {
            const files = performance.getEntriesByType('resource').filter(entry => /timeline\\/\\w+\\.(js|css)/.test(entry.name));
            return Math.max(...files.map(file => file.responseEnd)) - Math.min(...files.map(file => file.startTime));
        }"""
    )
    files = sorted((REPOSITORY / "web" / "timeline").iterdir())
    size = sum(path.stat().st_size for path in files) / 1024
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    sys.__stdout__.write(
        f"\nThe strip: {len(files)} files, {lines} lines, {size:.0f} KiB, loaded in {loaded:.0f} ms; "
        f"a frame costs {cost:.1f} ms while one of 12 items is dragged.\n"
    )
    assert lines <= 950 and cost < 16
