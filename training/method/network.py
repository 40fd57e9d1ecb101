"""A Wan network of ComfyUI as something to train: loading, the forward pass with gradients, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import comfy.ops
import comfy.sd
import comfy.utils
import torch
from comfy import model_management
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...pusa_model.families.lookup import check_model, network_record
from ...pusa_model.families.networks import TEXT_TO_VIDEO
from ...schedulers import InputError

_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.")
_QUANTISED = (".scale_weight", ".weight_scale", ".comfy_quant", "scaled_fp8")


@dataclass(frozen=True)
class Base:
    """A network to train, and where it came from.

    Attributes:
        network: ComfyUI's WanModel.
        metadata: of its file, to be carried along (``config`` tells ComfyUI what the shapes do not).
        path: its file; None for a state dict.
    """

    network: torch.nn.Module
    metadata: dict[str, str]
    path: Path | None


def load_base(path: str | Path, full: bool = False) -> Base:
    """Load a Wan text-to-video model the way ComfyUI does.

    Args:
        path: any file that ComfyUI's Load Diffusion Model takes: .safetensors in fp32, bf16, fp16, fp8 or scaled fp8.
        full: every weight is to be trained, so they are held in float32; else in the dtype of the file.

    Raises:
        InputError: not a file, not a plain Wan text-to-video model, or one whose quantised weights cannot be trained.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"`model`: there is no file {path}.")
    try:
        weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    except Exception as error:  # every reader has its own; the file is at fault for all of them
        raise InputError(f"`model`: {path.name} cannot be read as a model ({error}).") from error
    return Base(load_weights(weights, metadata, full, path.name), metadata or {}, path)


def load_weights(
    weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None, full: bool = False, name: str = "the state dict"
) -> torch.nn.Module:
    """ComfyUI's WanModel from a state dict, on the CPU; the arguments and errors are those of ``load_base``."""
    quantised = any(key.endswith(_QUANTISED) for key in weights)
    if quantised and full:
        raise InputError(f"`model`: {name} is quantised, so its weights cannot be trained. Use the bf16 file, or train a LoRA.")
    dtype = torch.float32 if full else comfy.utils.weight_dtype(weights)
    options = {"load_device": torch.device("cpu"), "offload_device": torch.device("cpu")}
    if not quantised:  # then ComfyUI chooses the operations; else these, which take weights of any dtype
        options |= {"dtype": dtype, "custom_operations": comfy.ops.manual_cast}
    model = comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options=options, metadata=metadata)
    if model is None:
        raise InputError(f"`model`: ComfyUI does not know what kind of model {name} is.")
    check_model(model)
    if network_record(model) is not TEXT_TO_VIDEO:
        raise InputError(f"`model` is {network_record(model).words}; what is trained here is a plain text-to-video network.")
    network = model.model.diffusion_model
    if not (full or quantised):
        _keep_wider(network, weights)
    return network.requires_grad_(full).train()


def velocity(network: torch.nn.Module, x: Tensor, sigma: Tensor, context: Tensor, checkpointing: bool = False) -> Tensor:
    """The network's velocity, with gradients. Call it inside ``training_mode``, and ``backward`` too.

    Args:
        x: noised latents [B, C, T, h, w]; their dtype is that of the residual stream.
        sigma: levels [B, T], or [B, 1] for one level for all frames.
        context: prompt embeddings [B, L, width].
        checkpointing: keep one activation per block.

    Returns:
        [B, C, T, h, w].
    """
    options = {"optimized_attention_override": _attention}
    if checkpointing:
        blocks = getattr(network, "module", network).blocks  # DistributedDataParallel keeps the network in `module`
        replaced = {("double_block", index): partial(_checkpointed, block) for index, block in enumerate(blocks)}
        options["patches_replace"] = {"dit": replaced}
    timestep = 1000 * sigma
    return network(x, timestep[:, 0] if sigma.shape[1] == 1 else timestep, context, transformer_options=options)


def _keep_wider(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give norms, biases and the like their dtype in the file back, where ComfyUI rounded them to that of most weights (fp8)."""
    for name, parameter in network.named_parameters():
        stored = next((weights[prefix + name] for prefix in _PREFIXES if prefix + name in weights), None)
        if stored is not None and stored.dtype.itemsize > parameter.dtype.itemsize:
            parameter.data = stored.to(parameter.device, copy=True)


@contextmanager
def training_mode() -> Iterator[None]:
    """Tell ComfyUI to use operations that have a gradient."""
    before = model_management.in_training
    model_management.in_training = True
    try:
        yield
    finally:
        model_management.in_training = before


def _attention(chosen, *args, **kwargs) -> Tensor:
    """PyTorch's attention in place of ComfyUI's choice, which may be one without a gradient."""
    return attention_pytorch(*args, **kwargs)


def _checkpointed(block: torch.nn.Module, inputs: dict, functions: dict) -> dict:
    """A block of a text-to-video network, computed again on the way back.

    ComfyUI's own ``original_block`` will not do: by then it stands for the last block.
    """
    options = {"context": inputs["txt"], "e": inputs["vec"], "freqs": inputs["pe"], "context_img_len": None}
    call = partial(block, **options, transformer_options=inputs["transformer_options"])
    return {"img": checkpoint(call, inputs["img"], use_reentrant=False)}
