"""The film strip in the page: a graph with one, what it shows, and hands for it."""

import uuid

from pusa.schedulers.timeline import place_items, read_timeline

LENGTH = 33
NODE, LATENT = "5", "4"
FILES = [f"nano_{frame}.png" for frame in ("00", "16", "32")]
START = "# a film\n0: nano_00.png, noise 0.2\n16: nano_16.png, noise 0.4  # the middle\n20-last: nano_ends.mp4, noise 0.5..0"
STATE = """() => {
    const strip = document.querySelector('pusa-timeline'), round = box => [box.x, box.y, box.width, box.height];
    if (!strip?.lane) return null;
    return {
        items: [...strip.querySelectorAll('.item')].map(card => ({
            line: card.item.number + 1, first: card.item.first, last: card.item.last,
            source: card.item.source, noise: card.item.noise,
            box: round(card.getBoundingClientRect()), wrong: card.classList.contains('wrong'), title: card.title,
            label: card.getAttribute('aria-label'),
            pictures: [...card.querySelectorAll('img, video')].map(each => each.naturalWidth ?? each.videoWidth),
            knobs: [...card.querySelectorAll('.knob')].map(each => round(each.getBoundingClientRect())),
            edges: [...card.querySelectorAll('.edge')].map(each => round(each.getBoundingClientRect())),
        })),
        status: strip.status.textContent, lane: round(strip.lane.getBoundingClientRect()),
        width: strip.getBoundingClientRect().width / app.canvas.ds.scale, mistakes: strip.answer.mistakes,
        text: app.graph.getNodeById(5)?.widgets.find(widget => widget.name === 'timeline').value,
    };
}"""
SETTLED = f"""() => {{
    const state = ({STATE})(), strip = document.querySelector('pusa-timeline');
    const drawn = state && strip.shown && !strip.gestures.active && JSON.parse(strip.asked)[0] === state.text;
    return drawn && state;
}}"""
DROP = """async ([names, share]) => {
    const strip = document.querySelector('pusa-timeline'), transfer = new DataTransfer(), box = strip.lane.getBoundingClientRect();
    for (const [given, name] of names) {
        const blob = await (await fetch(`/view?type=input&filename=${given}`)).blob();
        transfer.items.add(new File([blob], name, { type: blob.type }));
    }
    for (const type of ['dragenter', 'dragover', 'drop']) {
        const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
        const at = { clientX: box.x + share * box.width, clientY: box.y + box.height / 2 };
        const event = new DragEvent(type, { ...options, ...at });
        strip.lane.dispatchEvent(event);
        if (!event.defaultPrevented) throw new Error(`${type} was left to the page`);
    }
}"""


def graph(text: str) -> dict:
    """A timeline for the embedded model."""
    nodes = {
        "1": ("PusaModelLoader", {"unet_name": "pusa_nano_wan.safetensors", "weight_dtype": "default", "strength": 1.4}
              | {"lora_name": "pusa_nano_lora.safetensors", "distill_lora_name": "none", "distill_strength": 1.0}),
        "2": ("VAELoader", {"vae_name": "pusa_nano_vae.safetensors"}),
        "3": ("PusaLoadPrompt", {"prompt_name": "nano_positive.safetensors"}),
        LATENT: ("EmptyHunyuanLatentVideo", {"width": 64, "height": 64, "length": LENGTH, "batch_size": 1}),
        NODE: ("PusaTimeline", {"vae": ["2", 0], "latent": [LATENT, 0], "fps": 0.0, "timeline": text}),
        "6": ("PusaKSampler", {"model": ["1", 0], "positive": ["3", 0], "negative": ["3", 0], "latent_image": [LATENT, 0]}
              | {"condition": [NODE, 0], "seed": 3, "steps": 2, "cfg": 1.0, "shift": 5.0, "sampler_name": "euler"}
              | {"scheduler": "flow_match", "denoise": 1.0}),
        "7": ("VAEDecode", {"samples": ["6", 0], "vae": ["2", 0]}),
        "8": ("CreateVideo", {"images": ["7", 0], "fps": 16.0}),
        "9": ("SaveVideo", {"video": ["8", 0], "filename_prefix": "video/timeline", "format": "auto", "codec": "auto"}),
    }  # fmt: skip
    return {id: {"class_type": kind, "inputs": inputs, "_meta": {}} for id, (kind, inputs) in nodes.items()}


def build(editor, text: str, nodes2: bool, beside: dict | None = None) -> None:
    """The graph in the page, seen as a person sees it: the node in full. ``beside`` are further nodes in API format."""
    editor.nodes2(nodes2)
    editor.forget()
    editor.evaluate("([api, name]) => { app.clean(); app.loadApiJson(api, name); }", [graph(text) | (beside or {}), "timeline"])
    editor.settle()
    # As a file is opened: a graph without an id gets one at the first undo, which the page takes for a change of its own.
    editor.open(editor.saved() | {"id": str(uuid.uuid4())}, "timeline")
    editor.evaluate(
        """id => {
            const node = app.graph.getNodeById(Number(id));
            node.pos = [0, 2000]; // away from the others
            node.setSize([900, Math.max(620, node.size[1])]);
            app.canvas.ds.scale = 1;
            app.canvas.ds.offset = [-node.pos[0] + 500, -node.pos[1] + 200];
            app.canvas.setDirty(true, true);
        }""",
        NODE,
    )
    editor.settle()
    editor.wait(SETTLED)


def agreed(editor) -> dict:
    """What the strip shows, once it has come to rest; and that text, strip, prompt and saved graph are the same."""
    editor.wait(SETTLED)
    editor.evaluate("() => new Promise(done => setTimeout(done, 250))")  # the server's answer
    state = editor.wait(SETTLED)
    text = state["text"]
    assert editor.prompt()[NODE]["inputs"]["timeline"] == text
    (node,) = [node for node in editor.saved()["nodes"] if node["type"] == "PusaTimeline"]
    assert node["widgets_values"] == [0, text]
    items, _ = read_timeline(text)
    placed, _ = place_items(items, 9)
    apart = {each.item.line for each in placed}
    clashing = [item for item in items if item.line not in apart and "already" in state["mistakes"].get(str(item.line), "")]
    wanted = sorted([each.item for each in placed] + clashing, key=lambda item: item.line)
    found = sorted(state["items"], key=lambda item: item["line"])
    assert [(i["line"], i["first"], i["last"], i["source"], i["noise"]) for i in found] == [
        (i.line, i.first, i.last, i.source, i.noise) for i in wanted
    ]
    for each, item in zip(found, wanted):
        assert each["wrong"] or str(item.line) not in state["mistakes"]
    assert any(each["wrong"] for each in found) <= bool(state["mistakes"])
    assert editor.errors == [] and editor.messages() == []
    return state


def item_at(state: dict, line: int) -> dict:
    return next(item for item in state["items"] if item["line"] == line)


def middle(box: list) -> tuple:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def frame_at(state: dict, frame: float) -> float:
    """The x of the middle of a frame."""
    x, _, width, _ = state["lane"]
    return x + (frame + 0.5) / LENGTH * width


def stepped(editor, key: str, text: str) -> None:
    """Undo or redo to a text."""
    editor.undo(key, f"text => ({STATE})()?.text === text", text)
    assert agreed(editor)["text"] == text


def move(editor, state: dict, line: int, frames: float) -> dict:
    """Drag an item by its middle."""
    x, y = middle(item_at(state, line)["box"])
    editor.drag([(x, y - 10), (x + frames / LENGTH * state["lane"][2], y - 10)])
    return agreed(editor)
