"""What a run may begin from: a LoRA that is trained further or built into the weights, or another file of the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import comfy.lora
import torch
from torch import Tensor

from ...pusa_model.lora.file import check_values, read_tensors, rename_keys
from ...pusa_model.lora.load import check_fit, without_modulation
from ...schedulers import InputError
from ..memory.quantised import FrozenLinear

PREFIX = "diffusion_model."


@dataclass(frozen=True)
class Pair:
    """A low-rank update ``B A`` of a linear layer: A [rank, in], B [out, rank]; whatever scale the file has is in B."""

    a: Tensor
    b: Tensor


def read_lora(path: str | Path, network: torch.nn.Module, say: Callable[[str], None]) -> dict[str, Pair]:
    """The updates of a LoRA file by the names of the layers in the network, from any file that Load Pusa LoRA reads.

    Args:
        network: ComfyUI's WanModel, without LoRA layers.
        say: told, in words, what is left out.

    Raises:
        InputError: the file cannot be read, does not fit the network, or changes more than linear layers by low-rank updates.
    """
    pairs = {}
    for key, patch in _patches(path, network, say).items():
        name = key.removeprefix(PREFIX).removesuffix(".weight")
        weights = patch.weights if getattr(patch, "name", "") == "lora" else (None,) * 6
        up, down, alpha, mid, dora, _ = weights
        if up is None or mid is not None or dora is not None or up.ndim != 2:
            raise InputError(
                f"`init_lora`: {Path(path).name} changes {name} by something else than a low-rank update of a linear layer (a "
                "whole difference, DoRA, a convolution), which cannot be trained further. --train_architecture full can begin "
                "from it."
            )
        scale = 1.0 if alpha is None else alpha / down.shape[0]
        pairs[name] = Pair(down.float(), up.float() * scale)
    return pairs


def rank_in_file(path: str | Path) -> tuple[int, int]:
    """The largest rank in a LoRA file, and how many numbers its matrices have; only its header is read.

    Raises:
        InputError: there is no file, it cannot be read, or it holds no low-rank matrices.
    """
    if not Path(path).is_file():
        raise InputError(f"`init_lora`: there is no file {path}.")
    tensors = _words(lambda: rename_keys(read_tensors(str(path))))
    downs = [tensor for key, tensor in tensors.items() if key.endswith(("lora_A.weight", "lora_down.weight"))]
    ups = [tensor for key, tensor in tensors.items() if key.endswith(("lora_B.weight", "lora_up.weight"))]
    if not downs:
        raise InputError(f"`init_lora`: {Path(path).name} holds no LoRA; it has no lora_A or lora_down.")
    return max(tensor.shape[0] for tensor in downs), sum(tensor.numel() for tensor in (*downs, *ups))


def build_in(path: str | Path, network: torch.nn.Module, say: Callable[[str], None]) -> int:
    """Add a LoRA at strength 1 to the float32 weights of a network, in place; returns how many weights it changed.

    Raises:
        InputError: the file cannot be read or does not fit the network.
    """
    patches, parameters = _patches(path, network, say), dict(network.named_parameters())
    with torch.no_grad():
        for key, patch in patches.items():
            weight = parameters[key.removeprefix(PREFIX)]
            weight.copy_(comfy.lora.calculate_weight([(1.0, patch, 1.0, None, None)], weight.detach().clone(), key))
    return len(patches)


def take_weights(network: torch.nn.Module, other: torch.nn.Module, name: str) -> None:
    """Give a network the weights of another file of the same kind, in place.

    Args:
        name: of that file.

    Raises:
        InputError: they differ in names or sizes.
    """
    weights, parameters = other.state_dict(), network.state_dict()
    wrong = [key for key in {*weights, *parameters} if key not in weights or key not in parameters]
    wrong = wrong or [key for key, value in weights.items() if value.shape != parameters[key].shape]
    if wrong:
        raise InputError(f"`init`: {name} is no file of the same network as the model; they differ in {sorted(wrong)[0]}.")
    network.load_state_dict(weights)


def _patches(path: str | Path, network: torch.nn.Module, say: Callable[[str], None]) -> dict:
    """ComfyUI's patches of a LoRA file, by the names of the weights behind its prefix."""
    shapes = {PREFIX + name: parameter.shape for name, parameter in network.named_parameters()}
    shapes |= {  # where weights are packed, their shape says nothing
        f"{PREFIX}{name}.weight": torch.Size((layer.out_features, layer.in_features))
        for name, layer in network.named_modules()
        if isinstance(layer, FrozenLinear)
    }
    model = SimpleNamespace(state_dict=lambda: shapes, model_config=SimpleNamespace(unet_config={}))
    modules = comfy.lora.model_lora_keys_unet(model, {})

    def read() -> dict[str, Tensor]:
        lora = without_modulation(rename_keys(read_tensors(str(path))), say)
        check_fit(lora, modules, shapes)
        check_values(lora)
        return lora

    return comfy.lora.load_lora(_words(read), modules)


def _words(action: Callable):
    """What an action returns; what it has to say of a file names the option of this trainer."""
    try:
        return action()
    except InputError as error:
        raise InputError(str(error).replace("`lora_name`", "`init_lora`")) from error
