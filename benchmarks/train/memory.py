"""The peak memory of a training step by PyTorch's allocator, beside what the trainer computes from the shapes.

Four blocks of the width of Wan 1.3B: on a GPU with clips of 832 x 480, 81 frames, on a CPU with small ones, and nothing that moves
from a GPU.
"""

from __future__ import annotations

import comfy.model_management
import torch
from comfy.ldm.wan.model import WanModel

from hosting.process import pack_module

from ..measure.networks import SIZES, TEXT, WIDTHS
from ..measure.peaks import allocated
from ..measure.report import Limit, Table

WIDTH, RANK, BLOCKS = "1.3B", 64, 4
NEAR = 0.1
CHECKPOINTED = {"gradient_checkpointing": True}
SETTINGS = {
    "": {},
    "--mixed_precision no --activations fp32": {"mixed_precision": "no", "activations": "fp32"},
    "--gradient_checkpointing": CHECKPOINTED,
    "the same, --activations fp32": CHECKPOINTED | {"activations": "fp32"},
    "the same, --mixed_precision no": CHECKPOINTED | {"mixed_precision": "no", "activations": "fp32"},
    "--gradient_checkpointing --optimizer sgd": CHECKPOINTED | {"optimizer": "sgd"},
    "--gradient_checkpointing --base_dtype int8": CHECKPOINTED | {"base_dtype": "int8"},
    "--gradient_checkpointing --base_dtype nf4": CHECKPOINTED | {"base_dtype": "nf4"},
}
ON_A_GPU = {
    "--gradient_checkpointing --offload_activations": CHECKPOINTED | {"offload_activations": True},
    "the same, --blocks_on_cpu 4": CHECKPOINTED | {"offload_activations": True, "blocks_on_cpu": 4},
}
HELD = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}  # what the file has


def plain(width: str, blocks: int, operations, held: torch.dtype) -> WanModel:
    """Blocks of some width."""
    about = {"in_dim": 16, "out_dim": 16, "num_layers": blocks, "text_dim": TEXT[1], "dtype": held}
    return WanModel(**about, **WIDTHS[width], operations=operations)


def network(width: str, blocks: int, base_dtype: str, held: torch.dtype = torch.bfloat16) -> tuple[torch.nn.Module, object]:
    """Blocks with random weights and a LoRA on the CPU, and their outline without it."""
    import comfy.ops

    made = plain(width, blocks, comfy.ops.manual_cast, held)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    weights = dict(made.named_parameters())
    inside = {name: value.nbytes for name, value in weights.items() if name.startswith("blocks.")}
    quantised = pack_module("training.memory.quantised")
    linear = sum(size for name, size in inside.items() if quantised.is_taken(name.removesuffix(".weight")))
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    whole, wan = sum(value.nbytes for value in weights.values()), pack_module("pusa_model.families.table").WAN
    outline = pack_module("training.memory.outline").Outline(wan, shapes, whole, sum(inside.values()), linear, held)
    if base_dtype != quantised.FILE:
        made = plain(width, blocks, quantised.operations(base_dtype), held)
        made.load_state_dict(weights, strict=False)
    made.requires_grad_(False).train()
    pack_module("training.method.lora").add_lora(made, RANK)
    return made, outline


def measured(width: str, blocks: int, shape: tuple[int, ...], options: dict, held: torch.dtype) -> tuple[float, float]:
    """Bytes of the second step: (by the allocator, computed), with the weights that lie on the device and without the reserve."""
    budget, run, data = (pack_module(f"training.{name}") for name in ("memory.budget", "run", "data.encoded"))
    settings = pack_module("training.settings").Settings(**{"activations": "bf16", "save_every": 0} | options)
    made, outline = network(width, blocks, settings.base_dtype, held)
    clips = data.EncodedDataset.from_tensors(torch.randn(1, *shape), torch.randn(1, 16, TEXT[1]), [0])
    draw = pack_module("training.method.timesteps").draw_levels
    trainer = run.Run(made, clips, settings, None, None, None, draw)
    device = comfy.model_management.get_torch_device()
    there = sum(parameter.nbytes for parameter in made.parameters() if parameter.device.type == device.type)
    trainer.step()  # the optimiser has its state from here on
    state = sum(value.nbytes for kept in trainer.optimizer.state.values() for value in kept.values() if value.ndim)
    taken = there + state + allocated(trainer.step)
    numbers = sum(parameter.numel() for parameter in trainer.trained.values())
    need = budget.need(outline, numbers, budget.tokens([shape]), settings)
    return taken, need.total - budget.RESERVE


def table(quick: bool, layers: int | None) -> Table:
    """A row for each setting."""
    gpu = torch.cuda.is_available()
    width, size = "narrow" if quick else WIDTH, "832 x 480, 81 frames" if gpu and not quick else "128 x 128, 17 frames"
    shape, blocks = (16, *SIZES[size]), layers or BLOCKS
    tried = [("bf16", name, options) for name, options in (SETTINGS | (ON_A_GPU if gpu else {})).items()]
    tried += [("fp8", name, SETTINGS[name]) for name in ("", "--gradient_checkpointing")]
    rows, limits = [], []
    for file, name, options in tried:
        taken, computed = measured(width, blocks, shape, options, HELD[file])
        ratio = taken / computed
        words = name or "no option"
        rows.append([file, words, f"{taken / 2**20:.0f} MiB", f"{computed / 2**20:.0f} MiB", f"{ratio:.3f}"])
        limits.append(Limit(f"how far off is what is computed, {file}, {words}", abs(ratio - 1), NEAR))
    notes = () if gpu else ("What lies in RAM instead of on a GPU is not told apart here: no GPU.",)
    title = f"Peak memory of training: {blocks} blocks, width {WIDTHS[width]['dim']}, LoRA of rank {RANK}, {size}"
    return Table(title, ["file", "options", "measured", "computed", "ratio"], rows, tuple(limits), notes)
