"""What is computed of a run's memory, held against PyTorch's allocator and against what autograd saves, on small blocks of Wan."""

import sys

import comfy.ops
import host_comfyui
import pytest
import tiny
import torch
from comfy.ldm.wan.model import WanModel
from pusa.pusa_model.families.table import WAN
from pusa.training.data.encoded import EncodedDataset
from pusa.training.memory.budget import need
from pusa.training.memory.optimizers import state_size
from pusa.training.memory.outline import Outline
from pusa.training.memory.quantised import FILE, is_taken, operations
from pusa.training.method.lora import add_lora
from pusa.training.method.timesteps import draw_levels
from pusa.training.run import Run
from pusa.training.settings import Settings

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks.measure.peaks import allocated  # noqa: E402

WIDTH, HIDDEN, BLOCKS, RANK, FRAMES = 256, 1024, 2, 16, 4
TOKENS = FRAMES * 8 * 8
NEAR = 0.1


def wan(dtype, operations):
    return WanModel(
        in_dim=16, out_dim=16, dim=WIDTH, ffn_dim=HIDDEN, num_layers=BLOCKS, num_heads=2, text_dim=64, dtype=dtype,
        operations=operations,
    )  # fmt: skip


def blocks_of_wan(dtype, base_dtype):
    """Some blocks in a dtype, or quantised from it, with a LoRA, and their outline without it."""
    made = wan(dtype, comfy.ops.manual_cast)
    made.load_state_dict(tiny.randomised(made.state_dict(), 0))
    weights = made.to(dtype).state_dict()
    inside = {name: value.nbytes for name, value in weights.items() if name.startswith("blocks.")}
    linear = sum(size for name, size in inside.items() if is_taken(name.removesuffix(".weight")))
    whole = sum(value.nbytes for value in weights.values())
    found = Outline(WAN, {name: tuple(value.shape) for name, value in weights.items()}, whole, sum(inside.values()), linear, dtype)
    if base_dtype != FILE:
        made = wan(dtype, operations(base_dtype))
        made.load_state_dict(weights, strict=False)
    made.requires_grad_(False).train()
    add_lora(made, RANK)
    return made, found


@pytest.fixture(scope="module")
def clips():
    draws = tiny.seeded(0)
    return EncodedDataset.from_tensors(torch.randn(2, 16, FRAMES, 16, 16, generator=draws), torch.ones(1, 16, 64), [0, 0])


NO = {"mixed_precision": "no", "activations": "fp32"}
SMALL = {"gradient_checkpointing": True}


@pytest.mark.parametrize(
    "held, options",
    [
        ("bfloat16", SMALL),
        ("float32", NO | SMALL | {"optimizer": "sgd"}),
        ("float32", NO),
        ("bfloat16", SMALL | {"base_dtype": "int8"}),
        ("bfloat16", SMALL | {"base_dtype": "nf4"}),
        # Weights of another dtype than the products': autograd keeps the copies.
        ("bfloat16", NO | SMALL),
        ("bfloat16", NO),
        ("bfloat16", {"activations": "fp32"}),
        ("float16", {"mixed_precision": "no"}),
        ("float8_e4m3fn", {}),
        ("float8_e4m3fn", SMALL),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())) or "-",
)
def test_the_peak_of_a_step_is_what_is_computed(clips, held, options):
    """The second one, which the optimiser has its state for."""
    settings = Settings(**{"activations": "bf16", "save_every": 0} | options)
    network, found = blocks_of_wan(getattr(torch, held), settings.base_dtype)
    run = Run(network, clips, settings, None, None, None, draw_levels)
    run.step()
    state = sum(value.nbytes for kept in run.optimizer.state.values() for value in kept.values() if value.ndim)
    measured = sum(parameter.nbytes for parameter in network.parameters()) + state + allocated(run.step)
    computed = need(found, sum(value.numel() for value in run.trained.values()), TOKENS, settings)
    parts = computed.trained + computed.base + computed.activations + computed.block
    assert measured == pytest.approx(parts, rel=NEAR), f"{measured / 1e6:.1f} MB measured, {parts / 1e6:.1f} computed"
    assert state == state_size(settings.optimizer) * sum(value.numel() for value in run.trained.values())
