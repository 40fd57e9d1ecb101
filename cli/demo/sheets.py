"""Pictures of videos: nine frames of each in a row, given ones framed, beside what the task is and what the words were."""

import textwrap
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

TITLE = "Pusa: nine tasks, one model"
ORANGE, DARK, SOFT = (255, 158, 44), (18, 20, 30), (170, 176, 190)
COUNT, CELL, FRAME, GAP = 9, 112, 4, 6  # frames of a row; pixels of a frame, of the line around it, and between two
LABEL, HEAD, WIDE = 330, 64, 34  # pixels for words beside a row and above all rows; letters of a line of words
NUMBER = 18  # pixels for the number below a frame
STEP, HIGH = CELL + 2 * FRAME + GAP, CELL + 2 * FRAME + NUMBER + 2 * GAP


@dataclass(frozen=True)
class Row:
    """A video to show.

    Attributes:
        name, what: the task, short and in a few words.
        prompt: the words that it was made from.
        frames: all of the video.
        given: numbers of those that were given.
    """

    name: str
    what: str
    prompt: str
    frames: list[Image.Image]
    given: set[int]

    @property
    def numbers(self) -> list[int]:
        """The frames that are shown, from the first to the last."""
        return [round(index * (len(self.frames) - 1) / (COUNT - 1)) for index in range(COUNT)]


def page(title: str, rows: list[Row]) -> Image.Image:
    """A title, what the frames mean, and all rows."""
    made = Image.new("RGB", (LABEL + COUNT * STEP + GAP, HEAD + len(rows) * HIGH), DARK)
    draw = ImageDraw.Draw(made)
    draw.text((16, 14), title, font=ImageFont.load_default(22), fill="white")
    y = HEAD // 2 - 5
    draw.rectangle((LABEL, y - 7, LABEL + 17, y + 10), outline=ORANGE, width=FRAME)
    told = "given; all other frames are made. The number of a frame stands below it."
    draw.text((LABEL + 28, y + 2), told, font=ImageFont.load_default(15), fill=SOFT, anchor="lm")
    for number, row in enumerate(rows):
        draw_row(made, draw, row, HEAD + number * HIGH)
    return made


def draw_row(made: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    """Words on the left, frames on the right; a thin line above."""
    draw.line((16, top, made.width - 16, top), fill=(52, 56, 70))
    draw.text((16, top + 14), row.name, font=ImageFont.load_default(22), fill=ORANGE)
    draw.text((16, top + 44), textwrap.fill(row.what, WIDE + 4), font=ImageFont.load_default(15), fill="white")
    words = textwrap.fill(f'"{row.prompt}"', WIDE + 4)
    draw.text((16, top + HIGH - 12), words, font=ImageFont.load_default(14), fill=SOFT, anchor="ld")
    for column, number in enumerate(row.numbers):
        x, y = LABEL + column * STEP, top + GAP
        if number in row.given:
            draw.rectangle((x, y, x + CELL + 2 * FRAME - 1, y + CELL + 2 * FRAME - 1), fill=ORANGE)
        made.paste(row.frames[number].resize((CELL, CELL), Image.Resampling.BICUBIC), (x + FRAME, y + FRAME))
        middle, below = x + FRAME + CELL // 2, y + CELL + 2 * FRAME + 2
        draw.text((middle, below), str(number), font=ImageFont.load_default(13), fill=SOFT, anchor="ma")
