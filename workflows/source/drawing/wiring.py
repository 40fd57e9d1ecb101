"""The pictures of help pages that show which nodes are connected. `python dev.py workflows pictures` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, LINE = (252, 252, 250), (28, 32, 38), (104, 110, 118), (142, 147, 158)
OURS, OTHERS, BODY, MARK = (16, 52, 92), (128, 133, 142), (238, 240, 245), (206, 78, 44)
HEAD, ROW, PAD, SCALE, MARGIN = 30, 24, 12, 2, 14
KSAMPLER = ("model", "positive", "negative", "latent_image", "condition", "model_low")


@dataclass(frozen=True)
class Box:
    """A node: its name, left upper corner and width, sockets, and widgets worth seeing. Without sockets it is a file."""

    name: str
    x: int
    y: int
    width: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    widgets: dict[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether it is a file instead of a node."""
        return not (self.inputs or self.outputs)

    @property
    def height(self) -> int:
        """In pixels."""
        return 28 if self.is_file else HEAD + ROW * (max(len(self.inputs), len(self.outputs)) + len(self.widgets)) + PAD

    def socket(self, name: str, out: bool) -> tuple[int, int]:
        """Where a line ends. That to or from a file ends in the middle of a side."""
        names = self.outputs if out else self.inputs
        y = HEAD + ROW * names.index(name) + ROW // 2 + 3 if name in names else self.height // 2
        return self.x + self.width * out, self.y + y


def sampler(x: int, y: int) -> Box:
    """KSampler (Pusa), with its sockets."""
    return Box("KSampler (Pusa)", x, y, 200, KSAMPLER, ("latent",))


Wire = tuple[int, str, int, str]  # from a box and its output to a box and its input
WIRING: dict[str, tuple[tuple[Box, ...], tuple[Wire, ...]]] = {
    "PusaModelLoader": (
        (
            Box(
                "Load Model (Pusa)", 0, 0, 290, (), ("model",),
                {"unet_name": "wan2.1_t2v_14B", "lora_name": "pusa_v1", "strength": "1.4"},
            ),
            sampler(360, 0),
            Box("VAE Decode", 630, 0, 170, ("samples", "vae"), ("IMAGE",)),
        ),
        ((0, "model", 1, "model"), (1, "latent", 2, "samples")),
    ),
    "PusaModelPairLoader": (
        (
            Box(
                "Load Model Pair (Pusa)", 0, 0, 320, (), ("model", "model_low"),
                {
                    "lora_name_high": "high_noise_pusa", "strength_high": "1.5",
                    "lora_name_low": "low_noise_pusa", "strength_low": "1.4",
                },
            ),
            sampler(400, 0),
        ),
        ((0, "model", 1, "model"), (0, "model_low", 1, "model_low")),
    ),
    "PusaLoraLoader": (
        (
            Box("Load Diffusion Model", 0, 0, 240, (), ("MODEL",), {"unet_name": "... high_noise ..."}),
            Box("Load Diffusion Model", 0, 150, 240, (), ("MODEL",), {"unet_name": "... low_noise ..."}),
            Box("Load Pusa LoRA", 290, 0, 230, ("model",), ("model",), {"lora_name": "high_noise_pusa", "strength": "1.5"}),
            Box("Load Pusa LoRA", 290, 150, 230, ("model",), ("model",), {"lora_name": "low_noise_pusa", "strength": "1.4"}),
            sampler(580, 30),
        ),
        ((0, "MODEL", 2, "model"), (1, "MODEL", 3, "model"), (2, "model", 4, "model"), (3, "model", 4, "model_low")),
    ),
    "PusaLoadPrompt": (
        (
            Box("Load Prompt (Pusa)", 0, 0, 270, (), ("conditioning",), {"prompt_name": "ball.safetensors"}),
            Box("Load Prompt (Pusa)", 0, 110, 270, (), ("conditioning",), {"prompt_name": "negative.safetensors"}),
            sampler(340, 10),
        ),
        ((0, "conditioning", 2, "positive"), (1, "conditioning", 2, "negative")),
    ),
    "PusaSavePrompt": (
        (
            Box("Load CLIP", 0, 0, 170, (), ("CLIP",), {"type": "wan"}),
            Box("CLIP Text Encode (Prompt)", 220, 0, 270, ("clip",), ("CONDITIONING",), {"text": "a red ball rolls"}),
            Box("Save Prompt (Pusa)", 540, 0, 250, ("conditioning",), (), {"prompt_name": "ball"}),
            Box("models/prompts/ball.safetensors", 540, 130, 250),
        ),
        ((0, "CLIP", 1, "clip"), (1, "CONDITIONING", 2, "conditioning"), (2, "", 3, "")),
    ),
    "PusaApplyCondition": (
        (
            Box("Apply Condition (Pusa)", 0, 70, 230, ("model", "latent", "condition"), ("model", "latent")),
            Box("CFG Guider", 290, 0, 190, ("model", "positive", "negative"), ("GUIDER",)),
            Box("Scheduler (Pusa)", 290, 196, 190, (), ("sigmas",), {"steps": "10", "shift": "5"}),
            Box("SamplerCustomAdvanced", 550, 30, 240, ("noise", "guider", "sampler", "sigmas", "latent_image"), ("output",)),
        ),
        ((0, "model", 1, "model"), (0, "latent", 3, "latent_image"), (1, "GUIDER", 3, "guider"), (2, "sigmas", 3, "sigmas")),
    ),
    "PusaApplyConditionRaylight": (
        (
            Box("Load Diffusion Model (Ray)", 0, 0, 240, ("ray_actors_init", "lora"), ("ray_actors",)),
            Box(
                "Apply Condition (Pusa, raylight)", 300, 40, 280, ("ray_actors", "latent", "condition"), ("ray_actors", "latent"),
                {"shift": "5"},
            ),
            Box(
                "XFuser KSampler (Advanced)", 640, 0, 250, ("ray_actors", "positive", "negative", "latent_image"),
                ("latent", "ray_actors"),
            ),
        ),
        ((0, "ray_actors", 1, "ray_actors"), (1, "ray_actors", 2, "ray_actors"), (1, "latent", 2, "latent_image")),
    ),
    "PusaMergeLora": (
        (
            Box("wan2.1_t2v_14B_bf16.safetensors", 0, 30, 260),
            Box("pusa_v1.pt", 0, 90, 260),
            Box(
                "Merge LoRA (Pusa)", 320, 0, 300, (), ("file_name",),
                {"base_name": "wan2.1_t2v_14B_bf16", "lora_name": "pusa_v1", "strength": "1.4", "filename": "wan_pusa"},
            ),
            Box("wan_pusa.safetensors", 680, 70, 190),
        ),
        ((0, "", 2, ""), (1, "", 2, ""), (2, "", 3, "")),
    ),
    "PusaTrainLora": (
        (
            Box("VAE Encode", 0, 30, 190, ("pixels", "vae"), ("LATENT",)),
            Box("CLIP Text Encode", 0, 160, 190, ("clip",), ("CONDITIONING",)),
            Box(
                "Train LoRA (Pusa)", 260, 0, 270, ("model", "latents", "positive"), ("lora", "loss_map", "steps"),
                {"init_lora": "pusa_v1", "steps": "100", "rank": "32"},
            ),
            Box("Save LoRA Weights", 600, 0, 230, ("lora", "steps"), (), {"prefix": "loras/my_lora"}),
            Box("Plot Loss Graph", 600, 150, 230, ("loss",)),
        ),
        (
            (0, "LATENT", 2, "latents"), (1, "CONDITIONING", 2, "positive"), (2, "lora", 3, "lora"), (2, "steps", 3, "steps"),
            (2, "loss_map", 4, "loss"),
        ),
    ),
}  # fmt: skip


def wiring(page: str) -> Image.Image:
    """The picture of a help page, by the id of its node."""
    boxes, wires = WIRING[page]
    size = (max(box.x + box.width for box in boxes) + 2 * MARGIN, max(box.y + box.height for box in boxes) + 2 * MARGIN)
    image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
    draw = ImageDraw.Draw(image)
    for wire in wires:
        curve(draw, boxes[wire[0]], wire[1], boxes[wire[2]], wire[3])
    for box in boxes:
        (file if box.is_file else node)(draw, box)
    return image.resize(size, Image.Resampling.LANCZOS)


def at(*numbers: float) -> tuple[float, ...]:
    """Places of the picture as places of the larger one that is drawn."""
    return tuple((number + MARGIN) * SCALE for number in numbers)


def words(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, colour: tuple, anchor: str = "lm", size: int = 15) -> None:
    """A line of text."""
    draw.text(at(x, y), text, font=ImageFont.load_default(size * SCALE), fill=colour, anchor=anchor)


def node(draw: ImageDraw.ImageDraw, box: Box) -> None:
    """A node with its sockets; those of this pack are blue."""
    x, y, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    colour = OURS if "Pusa" in box.name else OTHERS
    draw.rounded_rectangle(at(x, y, right, bottom), 8 * SCALE, fill=BODY, outline=colour, width=SCALE)
    draw.rounded_rectangle(at(x, y, right, y + HEAD), 8 * SCALE, fill=colour, corners=(True, True, False, False))
    words(draw, x + PAD, y + HEAD / 2, box.name, PAPER)
    for out, names in ((False, box.inputs), (True, box.outputs)):
        for name in names:
            (sx, sy), side = box.socket(name, out), -1 if out else 1
            draw.ellipse(at(sx - 4, sy - 4, sx + 4, sy + 4), fill=INK)
            words(draw, sx + side * PAD, sy, name, INK, "rm" if out else "lm")
    first = max(len(box.inputs), len(box.outputs))
    for row, (name, value) in enumerate(box.widgets.items(), first):
        middle = y + HEAD + ROW * row + ROW // 2 + 3
        words(draw, x + PAD, middle, name, MUTED, size=13)
        words(draw, right - PAD, middle, value, INK, "rm", 13)


def file(draw: ImageDraw.ImageDraw, box: Box) -> None:
    """A file."""
    draw.rounded_rectangle(
        at(box.x, box.y, box.x + box.width, box.y + box.height), 14 * SCALE, fill=PAPER, outline=MARK, width=SCALE
    )
    words(draw, box.x + box.width / 2, box.y + box.height / 2, box.name, INK, "mm", 13)


def curve(draw: ImageDraw.ImageDraw, start: Box, output: str, end: Box, target: str) -> None:
    """A line between two sockets; one to or from a file is orange, and straight down where the file lies below."""
    colour = MARK if start.is_file or end.is_file else LINE
    if end.is_file and end.x == start.x:
        x = start.x + start.width / 2
        draw.line(at(x, start.y + start.height, x, end.y), fill=colour, width=2 * SCALE)
        return
    (x0, y0), (x1, y1) = start.socket(output, True), end.socket(target, False)
    bend = max(30, (x1 - x0) / 2)
    points = []
    for step in range(41):
        t = step / 40
        weights = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
        x = sum(w * p for w, p in zip(weights, (x0, x0 + bend, x1 - bend, x1)))
        y = sum(w * p for w, p in zip(weights, (y0, y0, y1, y1)))
        points.append(at(x, y))
    draw.line(points, fill=colour, width=2 * SCALE, joint="curve")
