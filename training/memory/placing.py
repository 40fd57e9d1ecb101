"""Where weights and activations lie while a network is trained on a GPU: there, or in the memory of the machine."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module

from ...schedulers import InputError


def check_blocks(asked: int, there: int) -> None:
    """Refuse to keep more blocks in memory than a network has.

    Raises:
        InputError: says how many there are.
    """
    if asked > there:
        raise InputError(f"`blocks_on_cpu` is {asked}; the network has {there} blocks.")


def place(network: Module, device: torch.device, blocks_on_cpu: int) -> None:
    """Bring a network to a device, but for the frozen weights of its first blocks, which stay in (pinned) memory.

    Raises:
        InputError: it has not so many blocks.
    """
    if not blocks_on_cpu:
        network.to(device)
        return
    check_blocks(blocks_on_cpu, len(network.blocks))
    for module in (*(child for child in network.children() if child is not network.blocks), *network.blocks[blocks_on_cpu:]):
        module.to(device)
    for parameter in network.blocks[:blocks_on_cpu].parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(device)
        elif device.type == "cuda" and type(parameter.data) is Tensor:  # ComfyUI's quantised tensors cannot be pinned
            parameter.data = parameter.data.pin_memory()


def run_block(block: Module, x: Tensor, **given) -> Tensor:
    """A block whose weights may lie elsewhere: copies on the device of x stand in for them.

    Autograd keeps the copies for as long as it needs them, so under gradient checkpointing one block is there at a time.
    """
    weights = {name: value.to(x.device, non_blocking=True) for name, value in block.named_parameters() if not value.requires_grad}
    return functional_call(block, weights, (x,), given)


def activations(offload: bool, device: torch.device) -> AbstractContextManager:
    """Within it, what the forward pass keeps for the way back lies in memory instead of on the GPU; the numbers are the same."""
    return torch.autograd.graph.save_on_cpu(pin_memory=device.type == "cuda") if offload else nullcontext()
