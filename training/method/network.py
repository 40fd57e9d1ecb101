"""A network of ComfyUI as something to train: loading, the forward pass with gradients, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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

from ...pusa_model.families.lookup import check_model, network_record, of_network
from ...pusa_model.families.networks import TEXT_TO_VIDEO
from ...pusa_model.families.table import Family
from ...schedulers import InputError
from ..files import reason
from ..memory.placing import run_block
from ..memory.quantised import FILE, check_base_dtype, operations

_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.")
_QUANTISED = (".scale_weight", ".weight_scale", ".comfy_quant", "scaled_fp8")


@dataclass(frozen=True)
class Base:
    """A network to train, and where it came from.

    Attributes:
        network: ComfyUI's WanModel, or AsymmDiTJoint of Mochi.
        metadata: of its file, to be carried along (``config`` tells ComfyUI what the shapes do not).
        path: its file; None for a state dict.
    """

    network: torch.nn.Module
    metadata: dict[str, str]
    path: Path | None


def load_base(path: str | Path, full: bool = False, base_dtype: str = FILE) -> Base:
    """Load a text-to-video model of Wan, or Mochi, the way ComfyUI does.

    Args:
        path: any file that ComfyUI's Load Diffusion Model takes: .safetensors in fp32, bf16, fp16, fp8 or scaled fp8.
        full: every weight is to be trained, so they are held in float32; else in the dtype of the file.
        base_dtype: ``int8`` or ``nf4`` hold the linear layers of the blocks so, each quantised as it is loaded (see
            ``memory/quantised.py``).

    Raises:
        InputError: not a file, not a plain text-to-video model, one whose quantised weights cannot be trained or are to be
            quantised again; or ``base_dtype`` where all of it is trained, or without its package.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"`model`: there is no file {path}.")
    try:
        weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    except Exception as error:  # every reader has its own; the file is at fault for all of them
        raise InputError(f"`model`: {path.name} cannot be read as a model: {reason(error)}.") from error
    return Base(load_weights(weights, metadata, full, path.name, base_dtype), metadata or {}, path)


def load_weights(
    weights: Mapping[str, Tensor],
    metadata: dict[str, str] | None = None,
    full: bool = False,
    name: str = "the state dict",
    base_dtype: str = FILE,
) -> torch.nn.Module:
    """ComfyUI's network from a state dict, on the CPU; the arguments and errors are those of ``load_base``."""
    check_base_dtype(base_dtype)
    quantised = any(key.endswith(_QUANTISED) for key in weights)
    if quantised and full:
        raise InputError(f"`model`: {name} is quantised, so its weights cannot be trained. Use the bf16 file, or train a LoRA.")
    dtype = torch.float32 if full else comfy.utils.weight_dtype(weights)
    if base_dtype != FILE and full:
        raise InputError(f"`base_dtype` is {base_dtype}, which is for a LoRA; the whole network is trained in float32.")
    eight = any(value.is_floating_point() and value.dtype.itemsize < 2 for value in weights.values())
    if base_dtype != FILE and (quantised or eight):
        raise InputError(f"`base_dtype` is {base_dtype}, but {name} is quantised already. Leave it out, or use the bf16 file.")
    options = {"load_device": torch.device("cpu"), "offload_device": torch.device("cpu")}
    if not quantised:  # then ComfyUI chooses the operations; else these, which take weights of any dtype
        options |= {"dtype": dtype, "custom_operations": comfy.ops.manual_cast if base_dtype == FILE else operations(base_dtype)}
    try:
        model = comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options=options, metadata=metadata)
    except LookupError:  # it begins like a kind that ComfyUI knows, and a layer is missing
        model = None
    if model is None:
        raise InputError(f"`model`: ComfyUI does not know what kind of model {name} is.")
    network = network_to_train(model, full)
    if not (full or quantised):
        _keep_wider(network, weights)
    return network


def network_to_train(model, full: bool = False) -> torch.nn.Module:
    """The network of a ComfyUI MODEL, with the forward that takes a timestep per latent frame.

    Args:
        full: whether its weights are to be trained.

    Raises:
        InputError: it is no plain text-to-video network.
    """
    check_model(model)
    record = network_record(model)
    if record is not TEXT_TO_VIDEO and record.own_forward is None:
        raise InputError(f"`model` is {record.words}; what is trained here is a plain text-to-video network.")
    if record.own_forward is not None:
        patched = model.clone()
        record.own_forward(patched, [])
        for name, forward in patched.object_patches.items():
            comfy.utils.set_attr(patched.model, name, forward)
    return model.model.diffusion_model.requires_grad_(full).train()


def family_of(network: torch.nn.Module) -> Family:
    """The family of a network, out of DistributedDataParallel, which keeps it in ``module``."""
    return of_network(getattr(network, "module", network))


def velocity(
    network: torch.nn.Module, x: Tensor, sigma: Tensor, context: Tensor, checkpointing: bool = False, streamed: int = 0
) -> Tensor:
    """The network's velocity, with gradients. Call it inside ``training_mode``, and ``backward`` too.

    Args:
        x: noised latents [B, C, T, h, w]; their dtype is that of the residual stream.
        sigma: levels [B, T], or [B, 1] for one level for all frames.
        context: prompt embeddings [B, L, width]; where the family has a mask of its tokens, rows of zeros are none.
        checkpointing: keep one activation per block.
        streamed: how many of the first blocks have frozen weights that may lie elsewhere (see ``memory/placing.py``); with
            ``checkpointing`` only, and of a network that runs its own blocks.

    Returns:
        [B, C, T, h, w].
    """
    options, family = {"optimized_attention_override": _attention}, family_of(network)
    if checkpointing:
        blocks = getattr(network, "module", network).blocks
        calls = [partial(run_block, block) if index < streamed else block for index, block in enumerate(blocks)]
        ways = [_checkpointed_call if family.own_forward else partial(_checkpointed, call) for call in calls]
        options["patches_replace"] = {"dit": {("double_block", index): way for index, way in enumerate(ways)}}
    timestep = family.multiplier * sigma
    if sigma.shape[1] == 1 and not family.own_forward:
        timestep = timestep[:, 0]
    given = {"attention_mask": context.ne(0).any(-1).long()} if family.masked else {}
    return network(x, timestep, context, transformer_options=options, **given)


def _keep_wider(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give norms, biases and the like their dtype in the file back, where ComfyUI rounded them to that of most weights (fp8)."""
    for name, parameter in network.named_parameters():
        stored = next((weights[prefix + name] for prefix in _PREFIXES if prefix + name in weights), None)
        if stored is not None and parameter.is_floating_point() and stored.dtype.itemsize > parameter.dtype.itemsize:
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


def _checkpointed_call(inputs: dict, functions: dict) -> dict:
    """A block that the forward of this pack runs, computed again on the way back."""
    return checkpoint(functions["original_block"], inputs, use_reentrant=False)


def _checkpointed(block: Callable, inputs: dict, functions: dict) -> dict:
    """A block of a text-to-video network, computed again on the way back.

    ComfyUI's own ``original_block`` will not do: by then it stands for the last block.
    """
    options = {"context": inputs["txt"], "e": inputs["vec"], "freqs": inputs["pe"], "context_img_len": None}
    call = partial(block, **options, transformer_options=inputs["transformer_options"])
    return {"img": checkpoint(call, inputs["img"], use_reentrant=False)}
