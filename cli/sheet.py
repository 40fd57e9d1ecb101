"""A video as one picture: some of its frames side by side, with their numbers."""

from pathlib import Path

import av
from PIL import Image, ImageDraw

COUNT = 9
GAP = 4


def contact_sheet(video: Path, picture: Path, count: int = COUNT) -> None:
    """Write `count` frames of a video, spread evenly from the first to the last, as a PNG."""
    with av.open(str(video)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    numbers = [round(index * (len(frames) - 1) / (count - 1)) for index in range(count)]
    width, height = frames[0].size
    sheet = Image.new("RGB", (count * (width + GAP) - GAP, height + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for index, number in enumerate(numbers):
        sheet.paste(frames[number], (index * (width + GAP), 16))
        draw.text((index * (width + GAP) + 2, 2), str(number), fill="black")
    sheet.save(picture)
