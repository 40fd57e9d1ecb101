"""The pictures of README and of help pages that show what the demos make, and the graph of image to video after a run.

All come from the graphs in workflows/, run and shown by the real page.
"""

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cli.demo.given import frames_of, given_of, row_of
from cli.demo.sheets import TITLE, page
from cli.demo.tasks import TASKS
from devtools.pages import SHEET, SHOT

from .editor import Editor

ROWS = {f"demo_{task.replace('-', '_')}": task for task in TASKS}
LAST = "demo_i2v"  # so that it is the one that is seen
SIDE = 80  # pixels of a frame in a strip
WIDTH = 1600  # of the picture of the graph, in pixels
PAPER, EMPTY, MARK, INK = (252, 252, 250), (238, 240, 245), (206, 78, 44), (28, 32, 38)
EVERY, TWO_HOPS = 4, range(0, 53, 5)  # frames of a strip; of a clip of 13 frames and two hops of 20
STRIPS = {
    "PusaKeyframes/keyframes.png": "demo_keyframes", "PusaVideoFrames/extension.png": "demo_extend",
    "PusaExtendVideo/hops.png": "demo_extend_ten", "PusaTransition/transition.png": "demo_transition",
}  # fmt: skip
"""Pictures of help pages by the graph that makes their frames. The first two show above it what is given."""
GRAPHS = (*(name for name in dict.fromkeys((*STRIPS.values(), *ROWS)) if name != LAST), LAST)


def front(editor: Editor, base: Path, files: dict[str, Path], folder: Path) -> None:
    """Write the pictures.

    Args:
        files: the workflow of each graph by the name of the graph.
        folder: root of the repository.
    """
    made, rows = {}, {}
    for name in GRAPHS:
        editor.open(json.loads(files[name].read_text(encoding="utf-8")), name)
        frames = frames_of(made_by(editor, base))
        graph = editor.prompt()
        made[name] = frames, given_of(graph, len(frames), base / "input")
        if name in ROWS:
            rows[name] = row_of(ROWS[name], graph, frames, base / "input")
    editor.settle()
    editor.forget()  # the message that the run is done
    view(editor, folder / SHOT)
    page(TITLE, [rows[name] for name in ROWS]).quantize(256).save(folder / SHEET, optimize=True)
    for file, name in STRIPS.items():
        frames, given = made[name]
        numbers = TWO_HOPS if name == "demo_extend_ten" else range(0, len(frames), EVERY)
        above = file.startswith(("PusaKeyframes", "PusaVideoFrames"))
        strip(frames, given, numbers, above).quantize(96).save(folder / "web" / "docs" / file, optimize=True)


def made_by(editor: Editor, base: Path) -> Path:
    """Run the graph that is open; the video that it saves."""
    outputs = editor.finished(editor.queue())
    (file,) = [file for output in outputs.values() for file in output.get("images", []) if file["filename"].endswith(".mp4")]
    return base / "output" / file["subfolder"] / file["filename"]


def strip(frames: list, given: set[int], numbers: range, above: bool) -> Image.Image:
    """Some frames of a video with their numbers, given ones marked; with ``above``, a row of what is given over it."""
    rows, step = 1 + above, SIDE
    made = Image.new("RGB", (10 + len(numbers) * (step + 10), 28 + rows * (step + 16)), PAPER)
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(15)
    for column, number in enumerate(numbers):
        x = 10 + column * (step + 10)
        draw.text((x + step / 2, 6), str(number), font=font, fill=INK, anchor="ma")
        for row in range(rows):
            y = 28 + row * (step + 16)
            if number in given or row == rows - 1:
                made.paste(frames[number].resize((step, step), Image.Resampling.BICUBIC), (x, y))
            else:
                draw.rectangle((x, y, x + step - 1, y + step - 1), outline=EMPTY)
            if number in given:
                draw.rectangle((x, y + step + 1, x + step - 1, y + step + 5), fill=MARK)
    return made


def view(editor: Editor, path: Path) -> None:
    """A picture of the groups of the graph that is open, without its note and the page around them."""
    groups = editor.groups().values()
    left, top = (min(box[side] for box in groups) for side in (0, 1))
    wide, high = (max(box[side] + box[side + 2] for box in groups) - least for side, least in ((0, left), (1, top)))
    box = editor.evaluate(
        """async ([left, top, wide, high, margin, edge]) => {
            const canvas = app.canvas, page = canvas.canvas.getBoundingClientRect();
            const scale = Math.min((page.width - 2 * margin) / wide, (page.height - 2 * margin) / high, 1);
            canvas.deselectAll?.();
            canvas.ds.scale = scale;
            canvas.ds.offset = [margin / scale - left, margin / scale - top];
            canvas.setDirty(true, true);
            await new Promise(done => setTimeout(done, 1000));
            const [x, y] = [(left + canvas.ds.offset[0]) * scale + page.x, (top + canvas.ds.offset[1]) * scale + page.y];
            return [x - edge, y - edge, x + wide * scale + edge, y + high * scale + edge];
        }""",
        [left, top, wide, high, 250, 12],
    )
    editor.screenshot(path)
    with Image.open(path) as page:
        cut = page.convert("RGB").crop([round(edge) for edge in box])
    cut.resize((WIDTH, round(cut.height * WIDTH / cut.width)), Image.Resampling.LANCZOS).save(path, optimize=True)
