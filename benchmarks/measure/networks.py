"""ComfyUI's own Wan at its true widths, with random weights, and what it is called with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import comfy.model_management
import comfy.ops
import comfy.sd
import torch
from comfy.ldm.wan.model import SCAILWanModel, VaceWanModel, WanModel
from torch import Tensor

WIDTHS = {
    "narrow": {"dim": 256, "ffn_dim": 1024, "num_heads": 2},
    "1.3B": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12},
    "14B": {"dim": 5120, "ffn_dim": 13824, "num_heads": 40},
}
SIZES = {  # latent frames, height, width
    "128 x 128, 17 frames": (5, 16, 16),
    "256 x 336, 33 frames": (9, 42, 32),
    "832 x 480, 81 frames": (21, 60, 104),
    "1280 x 720, 81 frames": (21, 90, 160),
}
TEXT = 512, 4096  # tokens, features
LAYERS = 40  # of Wan 14B
DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float8_e4m3fn: "fp8"}


@dataclass(frozen=True)
class Plan:
    """What is measured on this machine.

    Attributes:
        dtypes: of the weights; the computation is in bf16 where they are smaller.
    """

    device: torch.device
    width: str
    layers: int
    sizes: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]


def plan(quick: bool, layers: int | None, size: str | None = None) -> Plan:
    """Wan 14B on a GPU, Wan 1.3B with 2 blocks and a small clip on a CPU, less of everything in a hurry.

    Args:
        size: the only one, a name of ``SIZES``; None takes those of the machine.
    """
    if size is not None and size not in SIZES:
        raise SystemExit(f"Error: --size is {size!r}; allowed are: {'; '.join(SIZES)}.")
    device, (small, cpu, *gpu) = comfy.model_management.get_torch_device(), SIZES
    if quick:
        return Plan(device, "narrow", layers or 1, (size or small,), (torch.float32,))
    if device.type == "cpu":
        return Plan(device, "1.3B", layers or 2, (size or cpu,), (torch.float32,))
    sizes = (size,) if size else tuple(gpu)
    return Plan(device, "14B", layers or layers_that_fit(device), sizes, (torch.bfloat16, torch.float8_e4m3fn))


def layers_that_fit(device: torch.device) -> int:
    """Blocks of Wan 14B in bf16 that take no more than half of the free memory, on the device and beside it."""
    width = WIDTHS["14B"]
    block = 2 * (8 * width["dim"] ** 2 + 2 * width["dim"] * width["ffn_dim"])
    free = min(comfy.model_management.get_free_memory(each) for each in (device, torch.device("cpu")))
    return max(1, min(LAYERS, int(free / 2 / block)))


@dataclass(frozen=True)
class Kind:
    """A class of network, and what it is called with beside the clip.

    Attributes:
        config: arguments that differ from those of text-to-video.
        beside: shapes of further arguments, from latent frames, height and width.
        grid: latent pixels of which ComfyUI's node for it makes either side a multiple.
    """

    network: type[WanModel] = WanModel
    config: dict[str, int] = field(default_factory=dict)
    beside: Callable[[int, int, int], dict[str, tuple[int, ...]]] = lambda frames, height, width: {}
    grid: int = 2

    def fitted(self, size: str) -> tuple[int, int, int]:
        """Latent frames, height and width of a size that this kind can have, by the name of one that it is no larger than."""
        frames, *sides = SIZES[size]
        return frames, *(side // self.grid * self.grid for side in sides)


TEXT_TO_VIDEO = Kind()
RELATIVES = {
    "VACE with a control": Kind(
        VaceWanModel, {"vace_layers": 1, "vace_in_dim": 96}, lambda t, h, w: {"vace_context": (1, 1, 96, t, h, w)}
    ),
    "SCAIL with poses of half the size": Kind(
        SCAILWanModel, {"in_dim": 20}, lambda t, h, w: {"pose_latents": (1, 20, t, h // 2, w // 2)}, grid=4
    ),
    "a reference picture": Kind(WanModel, {"in_dim_ref_conv": 16}, lambda t, h, w: {"reference_latent": (1, 16, h, w)}),
}


class Wan:
    """A MODEL with random weights, text-to-video or another kind, loaded where ComfyUI runs it.

    Attributes:
        weights: state dict, in bf16 where the model keeps less.
        model: ModelPatcher.
        network: ComfyUI's WanModel inside it.
    """

    def __init__(self, width: str, layers: int, dtype: torch.dtype, kind: Kind = TEXT_TO_VIDEO):
        self.width, self.layers, self.dtype, self.kind = width, layers, dtype, kind
        self.weights = random_weights(self.shape, torch.bfloat16 if dtype.itemsize == 1 else dtype, kind.network)
        self.model = comfy.sd.load_diffusion_model_state_dict(dict(self.weights), model_options={"dtype": dtype})
        comfy.model_management.load_models_gpu([self.model], force_full_load=True)
        self.network = self.model.model.diffusion_model

    @property
    def shape(self) -> dict[str, int]:
        """Arguments of a network of this size."""
        return WIDTHS[self.width] | {"num_layers": self.layers} | self.kind.config

    def __str__(self) -> str:
        return f"Wan {self.width}, {self.layers} block{'s' * (self.layers > 1)}, {DTYPES[self.dtype]}"

    def inputs(self, size: str) -> Inputs:
        """What the network is called with for a clip of this size."""
        return Inputs(*self.kind.fitted(size), self.model.load_device, self.model.model.get_dtype_inference(), self.kind)


class Inputs:
    """Arguments of one model call.

    Attributes:
        x: noise [1, 16, T, h, w].
        scalar: one timestep [1].
        vector: one for each latent frame [1, T], of which the first is a clean picture.
        context: prompt features [1, 512, 4096].
        beside: what the kind of network is called with beside them.
    """

    def __init__(self, frames: int, height: int, width: int, device: torch.device, dtype: torch.dtype, kind: Kind):
        generator, channels = torch.Generator().manual_seed(0), kind.config.get("in_dim", 16)
        self.x = torch.randn(1, channels, frames, height, width, generator=generator).to(device, dtype)
        shapes = kind.beside(frames, height, width)
        self.beside = {name: torch.randn(shape, generator=generator).to(device, dtype) for name, shape in shapes.items()}
        if kind.network is VaceWanModel:
            self.beside["vace_strength"] = [1.0]
        self.context = torch.randn(1, *TEXT, generator=generator).to(device, dtype)
        self.vector = torch.full((1, frames), 800.0, device=device)
        self.vector[:, 0] = 0
        self.scalar = self.vector[:, 1]

    def __str__(self) -> str:
        frames, height, width = self.x.shape[2:]
        return f"{8 * width} x {8 * height}, {4 * (frames - 1) + 1} frames"


def random_weights(shape: dict[str, int], dtype: torch.dtype, network: type[WanModel] = WanModel) -> dict[str, Tensor]:
    """State dict of a Wan2.1 network, random and scaled by fan-in; every block has the weights of the first."""
    with torch.device("meta"):
        outline = network(**shape, text_dim=TEXT[1], operations=comfy.ops.manual_cast).state_dict()
    generator, drawn = torch.Generator().manual_seed(0), {}

    def draw(name: str, like: Tensor) -> Tensor:
        if name not in drawn:
            noise = torch.randn(like.shape, generator=generator)
            is_norm = like.ndim == 1 and name.endswith("weight")
            weight = torch.ones(like.shape) if is_norm else noise / max(1, like[0].numel()) ** 0.5
            drawn[name] = weight.to(dtype)
        return drawn[name]

    return {name: draw(re.sub(r"^blocks\.\d+\.", "blocks.0.", name), like) for name, like in outline.items()}


def measured(made: Plan) -> Iterator[tuple[Wan, str]]:
    """Every network and clip size of a plan, one network at a time."""
    for dtype in made.dtypes:
        wan = Wan(made.width, made.layers, dtype)
        for size in made.sizes:
            yield wan, size
        comfy.model_management.unload_all_models()
