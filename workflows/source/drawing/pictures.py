"""The pictures and clips in assets/input: a boat crosses a bay while evening turns to night. Drawn here, seen nowhere else."""

import math
import random
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

WIDTH, HEIGHT, FRAMES, RATE = 832, 480, 81, 16
FINER = 2  # everything is drawn this much larger, for smooth edges
HORIZON = 0.55
PICTURES = {"harbour_start.jpg": 0, "harbour_middle.jpg": 40, "harbour_end.jpg": 80}
CLIPS = {"harbour.mp4": range(0, 81), "harbour_before.mp4": range(0, 33), "harbour_after.mp4": range(48, 81)}
# The first two seconds at the rate and size of Wan2.2 5B.
FINE_CLIP, FINE_RATE, FINE_SIZE, FINE_FRAMES = "harbour_24.mp4", 24, (1280, 704), 49
# Colours of evening and night, from top to bottom.
SKY = (((64, 78, 140), (226, 130, 110), (255, 206, 130)), ((9, 13, 40), (28, 38, 84), (74, 84, 138)))
WATER = (((214, 136, 104), (112, 92, 128), (48, 54, 98)), ((52, 62, 112), (22, 30, 68), (8, 12, 34)))
FAR, NEAR, LAND = ((150, 104, 128), (38, 44, 86)), ((98, 78, 112), (24, 29, 62)), ((54, 48, 76), (12, 14, 34))


def blend(pair, share: float) -> tuple:
    """Between two colours."""
    return tuple(round(a + (b - a) * share) for a, b in zip(*pair))


def ease(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    x = min(max((value - low) / (high - low), 0.0), 1.0)
    return x * x * (3 - 2 * x)


class Scene:
    """One moment of the evening, `t` from 0 to 1, on a canvas of fractions: (0, 0) is top left, (1, 1) bottom right."""

    def __init__(self, t: float):
        self.t, self.night = t, ease(t, 0.1, 0.95)
        self.size = (WIDTH * FINER, HEIGHT * FINER)
        self.image = Image.new("RGB", self.size)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def at(self, *points) -> list:
        """Points on the canvas, in pixels."""
        return [(x * self.size[0], y * self.size[1]) for x, y in points]

    def shape(self, points, colour) -> None:
        """A filled polygon."""
        self.draw.polygon(self.at(*points), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour) -> None:
        """A filled circle; the radius is a fraction of the height."""
        (x, y), r = self.at((x, y))[0], radius * self.size[1]
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def glow(self, x: float, y: float, radius: float, colour, strength: float) -> None:
        """A soft light that adds to what is there."""
        across, down = np.meshgrid(np.arange(WIDTH) / WIDTH - x, np.arange(HEIGHT) / HEIGHT - y)
        light = np.exp(-((across * WIDTH / HEIGHT) ** 2 + down**2) / radius**2) * strength * 255
        mask = Image.fromarray(light.clip(0, 255).astype(np.uint8)).resize(self.size, Image.Resampling.BILINEAR)
        self.image.paste(Image.new("RGB", self.size, colour), mask=mask)

    def gradient(self, colours, top: float, bottom: float) -> None:
        """Three colours from one height to another."""
        low, high = round(top * self.size[1]), round(bottom * self.size[1])
        rows = np.linspace(0, 2, high - low)
        column = np.stack([np.interp(rows, (0, 1, 2), channel) for channel in zip(*colours)], axis=-1)
        picture = Image.fromarray(column.round().astype(np.uint8)[:, None].repeat(2, axis=1))
        self.image.paste(picture.resize((self.size[0], high - low), Image.Resampling.NEAREST), (0, low))

    def sky(self) -> None:
        """The sky, what shines in it, and the hills below."""
        self.gradient([blend(pair, self.night) for pair in zip(*SKY)], 0, HORIZON)
        stars, shine = random.Random(4), ease(self.t, 0.45, 0.95)
        for _ in range(90):
            x, y, size = stars.random(), stars.random() ** 1.6 * 0.46, stars.uniform(0.0011, 0.0026)
            flicker = 0.75 + 0.25 * math.sin(20 * self.t + 40 * x)
            self.disc(x, y, size, (255, 250, 230, round(255 * shine * flicker * (1 - y / 0.6))))
        sun = (0.40, 0.40 + 0.26 * ease(self.t, 0.0, 0.75))
        self.glow(*sun, 0.30, (255, 190, 110), 0.75 * (1 - ease(self.t, 0.2, 0.7)))
        self.disc(*sun, 0.052, (255, 226, 160))
        moon = (0.17, 0.40 - 0.24 * ease(self.t, 0.35, 1.0))
        self.glow(*moon, 0.14, (170, 190, 255), 0.5 * shine)
        self.disc(*moon, 0.034, (244, 242, 226, round(255 * ease(self.t, 0.4, 0.7))))
        for seed, height, colour in ((1, 0.085, FAR), (2, 0.05, NEAR)):
            self.hills(seed, height, blend(colour, self.night))

    def hills(self, seed: int, height: float, colour) -> None:
        """A line of rounded hills along the horizon."""
        waves = random.Random(seed)
        parts = [(waves.uniform(3, 14), waves.uniform(0, 6.3), waves.uniform(0.2, 0.5)) for _ in range(4)]
        line = [
            (x / 160, HORIZON - height * (0.55 + sum(a * math.sin(f * x / 160 + p) for f, p, a in parts) / 3)) for x in range(161)
        ]
        self.shape([(0, HORIZON), *line, (1, HORIZON)], colour)

    def water(self) -> None:
        """The bay, with the lights of the sky and the shore on its ripples."""
        self.gradient([blend(pair, self.night) for pair in zip(*WATER)], HORIZON, 1)
        ripples = random.Random(7)
        for _ in range(520):
            depth, x, phase = ripples.random() ** 1.5, ripples.random(), ripples.uniform(0, 6.3)
            y = HORIZON + 0.006 + depth * 0.43
            x += 0.006 * math.sin(6.3 * self.t * 2 + phase) * (1 + depth)
            long, high = (0.004 + 0.03 * depth) * ripples.uniform(0.6, 1.4), 0.0008 + 0.0026 * depth
            light, share = self.light(x, depth)
            alpha = (0.07 + 0.75 * share) * (0.6 + 0.4 * math.sin(6.3 * 3 * self.t + phase))
            box = self.at((x - long, y - high), (x + long, y + high))
            self.draw.rounded_rectangle((*box[0], *box[1]), radius=FINER * 2, fill=(*light, round(255 * alpha)))

    def light(self, x: float, depth: float) -> tuple:
        """Colour and strength of what a ripple mirrors."""
        near = [
            ((255, 206, 140), 0.40, 0.035 + 0.05 * depth, 1 - ease(self.t, 0.3, 0.8)),
            ((206, 214, 255), 0.17, 0.02 + 0.04 * depth, ease(self.t, 0.45, 0.9)),
            ((255, 214, 120), 0.885, 0.012 + 0.02 * depth, 0.9 * ease(self.t, 0.3, 0.7)),
        ]
        strengths = [math.exp(-(((x - centre) / width) ** 2)) * strength for _, centre, width, strength in near]
        best = max(range(3), key=strengths.__getitem__)
        if strengths[best] < 0.02:
            return blend(((255, 196, 160), (120, 140, 210)), self.night), 0.0
        return near[best][0], strengths[best]

    def shore(self) -> None:
        """A headland with a lighthouse and three houses whose windows light up one after the other."""
        rock = [(1, 0.70), (0.93, 0.685), (0.85, 0.66), (0.79, 0.625), (0.755, 0.592), (0.765, 0.57), (0.80, 0.535)]
        top = [(0.845, 0.50), (0.89, 0.485), (0.94, 0.47), (1, 0.465)]
        land = blend(LAND, self.night)
        self.shape(rock + top, land)
        for x, y, wide, high, wall, roof, when in (
            (0.915, 0.478, 0.034, 0.042, (196, 170, 160), (128, 62, 58), 0.35),
            (0.960, 0.470, 0.040, 0.050, (180, 160, 166), (92, 66, 84), 0.5),
            (0.838, 0.506, 0.030, 0.034, (206, 178, 150), (120, 78, 60), 0.62),
        ):
            self.house(x, y, wide, high, self.dim(wall), self.dim(roof), ease(self.t, when, when + 0.08))
        self.lighthouse(0.876, 0.49)

    def dim(self, colour, least: float = 0.28) -> tuple:
        """A colour as the evening leaves it."""
        share = 0.86 - (0.86 - least) * self.night
        return tuple(round(value * share * (1, 0.98, 1.06)[index]) for index, value in enumerate(colour))

    def house(self, x, y, wide, high, wall, roof, lit) -> None:
        """A house with two windows, its foot at (x, y)."""
        self.shape([(x - wide / 2, y + 0.02), (x - wide / 2, y - high), (x + wide / 2, y - high), (x + wide / 2, y + 0.02)], wall)
        self.shape([(x - wide * 0.62, y - high), (x, y - high * 1.95), (x + wide * 0.62, y - high)], roof)
        colour = blend(((58, 52, 70), (255, 214, 110)), lit)
        for side in (-0.22, 0.22):
            box = self.at((x + wide * (side - 0.12), y - high * 0.72), (x + wide * (side + 0.12), y - high * 0.22))
            self.draw.rectangle((*box[0], *box[1]), fill=colour)
        if lit > 0:
            self.glow(x, y - high / 2, 0.05, (255, 206, 120), 0.45 * lit)

    def lighthouse(self, x: float, y: float) -> None:
        """A white tower with red bands and a lamp."""
        high, foot, head = 0.235, 0.0155, 0.0095

        def slab(low, left, up, right, colour):
            """A part between two heights above the foot, with its half widths."""
            self.shape([(x - left, y - low), (x - right, y - up), (x + right, y - up), (x + left, y - low)], colour)

        for index in range(5):
            low, up = index / 5, (index + 1) / 5
            colour = self.dim((204, 64, 56) if index % 2 else (236, 230, 224), 0.4)
            slab(high * low, foot + (head - foot) * low, high * up, foot + (head - foot) * up, colour)
        lamp = ease(self.t, 0.25, 0.5)
        slab(high, 0.0125, high + 0.008, 0.0125, self.dim((70, 60, 70)))
        slab(high + 0.008, 0.007, high + 0.036, 0.007, blend(((120, 110, 110), (255, 236, 160)), lamp))
        slab(high + 0.036, 0.011, high + 0.062, 0.0, self.dim((190, 60, 54), 0.4))
        turn = 0.55 + 0.45 * math.cos(6.3 * 2 * self.t)
        self.glow(x, y - high - 0.022, 0.085, (255, 232, 160), 0.8 * lamp * turn)

    def boat(self) -> None:
        """The boat with the red sail, and its mirror image on the water."""
        x, y = 0.13 + 0.50 * self.t, 0.765 + 0.004 * math.sin(6.3 * 2.5 * self.t)
        lean = 0.05 + 0.02 * math.sin(6.3 * 2 * self.t + 1)
        layer = Image.new("RGBA", self.size)
        mirror = Image.new("RGBA", self.size)
        for canvas, up in ((mirror, -0.75), (layer, 1.0)):
            brush = ImageDraw.Draw(canvas)
            for points, colour in self.parts(lean):
                brush.polygon(self.at(*((x + across, y - up * high) for across, high in points)), fill=(*colour, 255))
        rows = np.asarray(mirror.filter(ImageFilter.GaussianBlur(2.5 * FINER))).copy()
        for row in range(round(y * self.size[1]), self.size[1]):
            rows[row] = np.roll(rows[row], round(3 * FINER * math.sin(row / (5 * FINER) + 40 * self.t)), axis=0)
        rows[: round((y - 0.004) * self.size[1])] = 0
        rows[..., 3] = (rows[..., 3] * 0.42).astype(np.uint8)
        for canvas in (Image.fromarray(rows), layer):
            self.image.paste(canvas, mask=canvas.getchannel("A"))

    def parts(self, lean: float) -> list:
        """Polygons of the boat around its waterline, heights upwards, and their colours."""

        def tilt(points):
            return [(across + lean * high * 0.6, high) for across, high in points]

        hull = [(-0.072, 0.030), (-0.060, -0.004), (0.052, -0.004), (0.082, 0.038), (0.02, 0.028)]
        rim = [(-0.072, 0.030), (0.02, 0.028), (0.082, 0.038), (0.081, 0.030), (0.02, 0.021), (-0.069, 0.023)]
        mast = tilt([(0.004, 0.02), (0.004, 0.345), (0.0085, 0.345), (0.0085, 0.02)])
        main = tilt([(-0.002, 0.325), (-0.030, 0.20), (-0.070, 0.062), (-0.002, 0.066)])
        shade = tilt([(-0.002, 0.325), (-0.016, 0.20), (-0.022, 0.064), (-0.002, 0.066)])
        jib = tilt([(0.013, 0.305), (0.040, 0.17), (0.076, 0.060), (0.013, 0.070)])
        return [
            (hull, self.dim((84, 58, 50), 0.4)),
            (rim, self.dim((232, 214, 190), 0.45)),
            (mast, self.dim((120, 84, 62), 0.45)),
            (main, self.dim((224, 58, 48), 0.5)),
            (shade, self.dim((190, 44, 44), 0.5)),
            (jib, self.dim((240, 104, 70), 0.5)),
        ]


@lru_cache(FRAMES)
def render(frame: float, size: tuple = (WIDTH, HEIGHT)) -> Image.Image:
    """A moment of the evening, 0 to 80."""
    scene = Scene(frame / (FRAMES - 1))
    for step in (scene.sky, scene.water, scene.shore, scene.boat):
        step()
    return ImageOps.fit(scene.image, size, Image.Resampling.LANCZOS)


def write_clip(path: Path, frames, rate: int = RATE, size: tuple = (WIDTH, HEIGHT)) -> None:
    """Write frames as an mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "24", "preset": "slow", "threads": "1"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(render(frame, size))))
        container.mux(stream.encode())


def draw_all(folder: Path) -> None:
    """Write the pictures and clips."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in PICTURES.items():
        render(frame).save(folder / name, quality=90, subsampling=0)
    for name, frames in CLIPS.items():
        write_clip(folder / name, frames)
    write_clip(folder / FINE_CLIP, [frame * RATE / FINE_RATE for frame in range(FINE_FRAMES)], FINE_RATE, FINE_SIZE)
