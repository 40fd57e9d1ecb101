"""Small graphs drawn at random from what a server says of its nodes: every node of the pack, and ComfyUI's own around it."""

from __future__ import annotations

import random

OURS = "Pusa"
MOST_DEEP = 2  # nodes of the pack before the one that is tried
OPEN_SOCKET = 0.5  # share of optional sockets that are connected
TINY = {"unet_name": "pusa_tiny_wan.safetensors", "weight_dtype": "default"}
LORA, VAE = "pusa_tiny_lora.safetensors", "pusa_tiny_vae.safetensors"
PICTURES, CLIPS = ("picture_0.png", "picture_1.png", "picture_2.png"), ("clip.mp4", "sounding.mp4", "short.mp4")
TEXTS = ("0", "0.2", "0, last", "0.0..0.5", "-1", "1, 2", "0-1", "0.0, 0.3", "last", "0.5")
LINES = ("0: picture_0.png", "last: picture_1.png, noise 0.5", "4: image0, fit pad", "0-4: clip.mp4 from end, noise 0..0.5", "#")
NEAR = {  # whole numbers that keep a graph small, by input; those that only fit now and then are among them
    "steps": (1, 2, 2, 3), "hops": (1, 1, 2), "new_frames": (4, 8, 3, 7, 12), "overlap": (1, 5, 5, 9, 6),
    "cross_fade": (0, 0, 1, 5), "frames": (1, 5, 5, 9, 6), "width": (32, 32, 48, 16, 40),
    "height": (32, 32, 48, 64), "length": (5, 9, 9, 17, 1, 6),
    "batch_size": (1, 1, 1, 2), "amount": (1, 2, 3),
}  # fmt: skip


class Draft:
    """A graph that grows.

    Args:
        info: what a server answers to /object_info.
        draw: the random numbers of this graph.

    Attributes:
        graph: in API format.
    """

    def __init__(self, info: dict, draw: random.Random):
        self.info, self.draw, self.graph = info, draw, {}
        self._deep = 0

    def add(self, class_type: str, **inputs) -> str:
        """Put a node; returns its id."""
        id = f"n{len(self.graph)}"
        self.graph[id] = {"class_type": class_type, "inputs": inputs}
        return id

    def probe(self, link: list) -> str:
        """Have a value told; returns the id of the probe."""
        return self.add("ReliabilityProbe", value=link)

    def pack_node(self, class_type: str) -> str:
        """A node of the pack with every input given, mostly such that it runs."""
        self._deep += 1
        asked = self.info[class_type]["input"]
        inputs = {}
        for name, spec in asked["required"].items():
            inputs |= self.given(name, *spec)
        for name, spec in asked.get("optional", {}).items():
            if self._deep <= MOST_DEEP and self.draw.random() < OPEN_SOCKET:
                inputs |= self.given(name, *spec)
        self._deep -= 1
        return self.add(class_type, **inputs)

    def given(self, name: str, kind, settings: dict | None = None) -> dict:
        """An input with a value or a link of its type; several where it grows."""
        settings = settings or {}
        if kind == "COMFY_AUTOGROW_V3":
            template = settings["template"]
            (spec,) = template["input"]["required"].values()
            return {f"{name}.{template['prefix']}{i}": self.link(spec[0]) for i in range(self.draw.choice((1, 1, 2, 3)))}
        if kind == "COMBO":
            options = settings["options"]
            usual = settings.get("default") or usual_file(name, options)
            return {name: usual if self.draw.random() < 0.7 else self.draw.choice(options)}
        if kind == "INT":
            return {name: self.draw.choice(NEAR.get(name, (0, 1, 2)))}
        if kind == "FLOAT":
            low, high = settings["min"], settings["max"]
            return {name: settings["default"] if self.draw.random() < 0.6 else round(self.draw.uniform(low, min(high, 20)), 3)}
        if kind == "BOOLEAN":
            return {name: True}
        if kind == "STRING":
            if name == "timeline":
                return {name: "\n".join(self.draw.sample(LINES, 2))}
            return {name: self.draw.choice(TEXTS) if name in ("positions", "noise") else f"made/{self.draw.randrange(4)}"}
        return {name: self.link(kind)}

    def link(self, kind: str) -> list:
        """A link to something of a type, made for it."""
        kind = self.draw.choice(kind.split(","))
        return getattr(self, f"_{kind.lower()}")()

    def _one_of(self, *makers) -> list:
        return self.draw.choice(makers)()

    def _ours(self, class_type: str, output: int = 0) -> list:
        return [self.pack_node(class_type), output]

    def _model(self) -> list:
        def plain():
            return [self.add("UNETLoader", **TINY), 0]

        def patched():
            return [self.add("PusaLoraLoader", model=plain(), lora_name=LORA, strength=1.4), 0]

        def core():
            class_type = self.draw.choice(("ModelSamplingSD3", "RescaleCFG", "EasyCache", "CFGZeroStar"))
            more = {"ModelSamplingSD3": {"shift": 3.0}, "RescaleCFG": {"multiplier": 0.7}}.get(class_type, {})
            if class_type == "EasyCache":
                more = {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False}
            return [self.add(class_type, model=patched(), **more), 0]

        def ours():
            if self._deep > MOST_DEEP:
                return patched()
            name, output = self.draw.choice((("PusaModelLoader", 0), ("PusaModelPairLoader", 1), ("PusaApplyCondition", 0)))
            return self._ours(name, output)

        return self._one_of(patched, patched, patched, plain, core, ours)

    def _vae(self) -> list:
        return [self.add("VAELoader", vae_name=VAE), 0]

    def _conditioning(self) -> list:
        def stored():
            name = self.draw.choice(("positive", "negative"))
            return [self.add("PusaLoadPrompt", prompt_name=f"pusa_tiny_{name}.safetensors"), 0]

        def core():
            return self._one_of(
                lambda: [self.add("ConditioningZeroOut", conditioning=stored()), 0],
                lambda: [self.add("ConditioningCombine", conditioning_1=stored(), conditioning_2=stored()), 0],
                lambda: [self.add("ConditioningSetTimestepRange", conditioning=stored(), start=0.0, end=0.6), 0],
                lambda: [self.add("ConditioningConcat", conditioning_to=stored(), conditioning_from=stored()), 0],
            )

        return self._one_of(stored, stored, stored, core)

    def _latent(self) -> list:
        def empty(class_type="EmptyHunyuanLatentVideo"):
            sizes = {name: self.draw.choice(NEAR[name]) for name in ("width", "height", "length", "batch_size")}
            return [self.add(class_type, **sizes), 0]

        def common():
            return [self.add("EmptyHunyuanLatentVideo", width=32, height=32, length=9, batch_size=1), 0]

        def other():
            return self._one_of(
                lambda: [self.add("EmptyLatentImage", width=32, height=32, batch_size=1), 0],
                lambda: empty("EmptyMochiLatentVideo"),
                lambda: [self.add("RepeatLatentBatch", samples=common(), amount=2), 0],
                lambda: [self.add("VAEEncode", pixels=self._image(), vae=self._vae()), 0],
                lambda: [self.add("SetLatentNoiseMask", samples=common(), mask=self._mask()), 0],
                lambda: self._ours("PusaKSampler") if self._deep <= MOST_DEEP else common(),
                lambda: self._ours("PusaApplyCondition", 1) if self._deep <= MOST_DEEP else common(),
            )

        return self._one_of(common, common, common, empty, other)

    def _mask(self) -> list:
        return [self.add("SolidMask", value=self.draw.choice((0.0, 0.5, 1.0)), width=32, height=32), 0]

    def _image(self) -> list:
        def picture():
            return [self.add("LoadImage", image=self.draw.choice(PICTURES)), 0]

        def frames():
            return [self.add("GetVideoComponents", video=self._video()), 0]

        def other():
            return self._one_of(
                lambda: [self.add("EmptyImage", width=33, height=47, batch_size=self.draw.choice((1, 5, 9)), color=255), 0],
                lambda: [self.add("RepeatImageBatch", image=picture(), amount=self.draw.choice((2, 5, 9))), 0],
                lambda: [self.add("VAEDecode", samples=self._latent(), vae=self._vae()), 0],
                lambda: [self.add("JoinImageWithAlpha", image=picture(), alpha=self._mask()), 0],
                lambda: self._ours("PusaConditionPlot") if self._deep <= MOST_DEEP else picture(),
                lambda: self._ours("PusaExtendVideo", self.draw.randrange(3)) if self._deep < MOST_DEEP else frames(),
            )

        return self._one_of(picture, frames, frames, other)

    def _video(self) -> list:
        def file():
            return [self.add("LoadVideo", file=self.draw.choice(CLIPS)), 0]

        def made():
            return [self.add("CreateVideo", images=self._image(), fps=self.draw.choice((8.0, 16.0, 29.97))), 0]

        return self._one_of(file, file, made)

    def _sigmas(self) -> list:
        return self._one_of(
            lambda: self._ours("PusaScheduler"),
            lambda: [self.add("BasicScheduler", model=self._model(), scheduler="simple", steps=3, denoise=1.0), 0],
            lambda: [self.add("ManualSigmas", sigmas=self.draw.choice(("1, 0.5, 0", "1", "", "0, 1", "14.6, 2, 0"))), 0],
        )

    def _pusa_condition(self) -> list:
        return self._ours(self.draw.choice(("PusaTimeline", "PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames")))

    def _curve(self) -> list:
        points = [[0.0, self.draw.random()], [1.0, self.draw.random()]]
        return [self.add("CurveEditor", curve={"points": points, "interpolation": "linear"}), 0]

    def _floats(self):
        return {"__value__": [round(self.draw.random(), 2) for _ in range(self.draw.choice((1, 2, 3)))]}

    def _float(self) -> list:
        return [self.add("PrimitiveFloat", value=self.draw.choice((0.0, 0.3, 1.0))), 0]


def usual_file(name: str, options: list[str]) -> str:
    """The tiny file of a list of files; that of the low-noise expert where the input asks for it."""
    tiny = [option for option in options if option.startswith("pusa_tiny")]
    return tiny[-1] if name.endswith("_low") else tiny[0]
