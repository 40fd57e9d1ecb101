"""The picture of Timeline (Pusa) on its help page: the node's text and film strip in the page, and the video drawn through them."""

import io
import json
from pathlib import Path

from PIL import Image

from .editor import Editor
from .front import frames_of, made_by

FILE, GRAPH = "PusaTimeline/strip.png", "demo_timeline"
TEXT = "0-8: nano_begins.mp4, noise 0..0.3\n16: nano_16.png, noise 0.2\nlast: nano_32.png, noise 0.1"
WIDTH, SHOWN, MOST = 748, 8, 40_000  # pixels; frames below the strip; bytes of a picture of a help page
WRITE = """text => {
    app.graph.nodes.find(node => node.type === 'PusaTimeline').widgets.find(widget => widget.name === 'timeline').value = text;
    app.canvas.setDirty(true, true);
}"""
SETTLED = """text => {
    const strip = document.querySelector('pusa-timeline');
    const media = [...(strip?.querySelectorAll('.item img, .item video') ?? [])];
    return strip?.shown && JSON.parse(strip.asked)[0] === text && media.length >= 3
        && media.every(each => (each.naturalWidth ?? each.videoWidth) > 0);
}"""
BOX = """async () => {
    const node = app.graph.nodes.find(node => node.type === 'PusaTimeline'), { ds } = app.canvas;
    ds.scale = 1.2;
    ds.offset = [400 / ds.scale - node.pos[0], 250 / ds.scale - node.pos[1]];
    app.canvas.setDirty(true, true);
    await new Promise(done => setTimeout(done, 1000));
    const text = node.widgets.find(widget => widget.name === 'timeline').element.getBoundingClientRect();
    const strip = document.querySelector('pusa-timeline').getBoundingClientRect();
    return [Math.min(text.left, strip.left), text.top, Math.max(text.right, strip.right), strip.bottom];
}"""


def film(editor: Editor, base: Path, file: Path, folder: Path) -> None:
    """Write the picture.

    Args:
        file: the workflow with the node.
        folder: root of the repository.
    """
    editor.open(json.loads(file.read_text(encoding="utf-8")), GRAPH)
    editor.evaluate(WRITE, TEXT)
    editor.wait(SETTLED, TEXT)
    frames = frames_of(made_by(editor, base))
    editor.settle()
    editor.forget()
    box, path = editor.evaluate(BOX), folder / "web" / "docs" / FILE
    editor.screenshot(path)
    with Image.open(path) as page:
        cut = page.convert("RGB").crop([round(edge) for edge in box])
    high, side = round(cut.height * WIDTH / cut.width), WIDTH // SHOWN
    made = Image.new("RGB", (WIDTH, high + side), "black")
    made.paste(cut.resize((WIDTH, high), Image.Resampling.LANCZOS))
    for column in range(SHOWN):
        frame = frames[round(column * (len(frames) - 1) / (SHOWN - 1))]
        made.paste(frame.resize((side - 2, side - 2), Image.Resampling.BICUBIC), (column * side, high + 2))
    path.write_bytes(next(small for small in (packed(made, colours) for colours in (128, 64, 32)) if len(small) < MOST))


def packed(picture: Image.Image, colours: int) -> bytes:
    """A PNG with some colours, chosen by octree: most of the picture is grey noise, and yellow has to stay."""
    file = io.BytesIO()
    picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()
