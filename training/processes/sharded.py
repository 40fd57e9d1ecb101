"""FSDP2: weights, gradients and the optimiser's state in equal parts on all processes, each block whole while it is used.

``accelerate launch`` with a config file of FSDP tells the processes what is asked for; PyTorch's ``fully_shard`` does it. The
numbers are those of plain multi-GPU, to the order of the sums. A checkpoint is in parts (``keeping/parts.py``), which any number
of processes goes on from; the trained file is one.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module

from ...schedulers import InputError
from ..memory.quantised import FILE
from ..settings import Settings

OPTIMIZERS = ("adamw", "sgd")
# By what a file for DeepSpeed says: its value that asks for nothing, and the option that it is here.
INSTEAD = {"gradient_accumulation_steps": ("1", "--accumulate"), "gradient_clipping": ("none", "--grad_clip")}


def take_deepspeed() -> str | None:
    """Where a launch asks for ZeRO of DeepSpeed, let FSDP2 do it, which spreads the same. Call it before accelerate starts.

    Returns:
        What is done in its place, and what of it has no effect, in words; None where nothing is asked.

    Raises:
        InputError: DeepSpeed is to keep something in RAM, or its stage is in a file of its own.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return None
    places = [os.environ.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{name}_DEVICE", "none") for name in ("OPTIMIZER", "PARAM")]
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")
    if set(places) != {"none"} or stage not in ("0", "1", "2", "3") or "ACCELERATE_DEEPSPEED_CONFIG_FILE" in os.environ:
        raise InputError(
            "accelerate is set up for DeepSpeed with a file of its own, or with weights or the optimiser in RAM, which is not done "
            "here. Give `zero_stage` 1, 2 or 3 in accelerate's own file, or one of training/processes/configs."
        )
    del os.environ["ACCELERATE_USE_DEEPSPEED"]
    asked = {name: os.environ.get(f"ACCELERATE_{name.upper()}", off).lower() for name, (off, _) in INSTEAD.items()}
    told = "".join(
        f" Warning: its {name} of {asked[name]} has no effect, {option} has."
        for name, (off, option) in INSTEAD.items()
        if asked[name] not in (off, "auto")
    )
    if stage == "0":
        return f"DeepSpeed without ZeRO is asked for: plain multi-GPU does the same.{told}"
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": str(stage == "3").lower()}
    return f"DeepSpeed ZeRO-{stage} is asked for: PyTorch's FSDP2 does it, without DeepSpeed.{told}"


def is_asked() -> bool:
    """Whether this process was launched with FSDP, as accelerate's launcher says it to its processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def is_spread(processes: int) -> bool:
    """Whether a run of so many processes has its weights spread over them."""
    return is_asked() and processes > 1


def check_launch(settings: Settings) -> None:
    """Refuse what accelerate's launcher asks for and is not done here, and what does not go with FSDP, before anything is loaded.

    Raises:
        InputError: Megatron, FSDP1, weights in RAM, or a setting that needs whole weights.
    """
    if os.environ.get("ACCELERATE_USE_MEGATRON_LM", "").lower() == "true":
        raise InputError("accelerate is set up for Megatron, which is not done here; use one of training/processes/configs.")
    if not is_asked():
        return
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise InputError(f"accelerate is set up for FSDP {version}; set `fsdp_version: 2`, as in training/processes/configs.")
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise InputError("accelerate is set up with `fsdp_offload_params`, which is not done here; set it to false.")
    wrong = {"ema": bool(settings.ema), "blocks_on_cpu": bool(settings.blocks_on_cpu)}
    wrong |= {"base_dtype": settings.base_dtype != FILE, "optimizer": settings.optimizer not in OPTIMIZERS}
    for name in (name for name, given in wrong.items() if given):
        raise InputError(
            f"`{name}` is {getattr(settings, name)}, which does not go with weights that are spread over processes (FSDP). Leave "
            f"it out, or use plain multi-GPU. Optimisers that go with it: {', '.join(OPTIMIZERS)}."
        )


def shard(network: Module, device: torch.device, blocks: bool) -> None:
    """Spread the parameters of a network over all processes, in place; they become ``DTensor``.

    Args:
        network: on any device; block by block it is brought to that of the process, so it never lies there whole.
        blocks: whether each block is called as a module, so that it can be gathered by itself; else the network is gathered as one.

    Raises:
        InputError: a parameter is of a kind that cannot be spread (ComfyUI's quantised weights).
    """
    from torch.distributed.fsdp import fully_shard  # of a newer PyTorch than all else here

    for name, parameter in network.named_parameters():
        if type(parameter.data) is not Tensor:
            raise InputError(f"the model is quantised ({name}), so FSDP cannot spread it; use the bf16 file, or plain multi-GPU.")
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    again = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
    for block in network.blocks if blocks else ():
        fully_shard(block, mesh=mesh, reshard_after_forward=again)
    fully_shard(network, mesh=mesh)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that is in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor, keep: bool = True) -> Tensor | None:
    """A tensor that may be spread, gathered on the CPU; every process must call it.

    Args:
        keep: whether this process keeps what is gathered; else it only takes part, and gets None in its place.
    """
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu() if keep else None


def parted(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in the form of another one that may be spread, each process taking its part of it."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def parted_state(state: dict[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """The state dict of an optimiser whose tensors are whole, in the form of the parameters that it is for."""
    parts = {
        index: {key: parted(value, parameters[index]) if isinstance(value, Tensor) else value for key, value in kept.items()}
        for index, kept in state["state"].items()
    }
    return state | {"state": parts}
