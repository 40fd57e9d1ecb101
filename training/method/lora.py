"""LoRA layers on a network through PEFT, and the file they are saved as."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor

from ...schedulers import InputError
from ..data.order import generator
from .network import family_of
from .start import PREFIX, Pair

_ADAPTER = "default"


def add_lora(
    network: torch.nn.Module,
    rank: int,
    alpha: float | None = None,
    targets: Sequence[str] | None = None,
    seed: int = 0,
    start: Mapping[str, Pair] | None = None,
) -> None:
    """Freeze a network and give every target in its blocks a trainable ``W + alpha / rank B A``, in place.

    A starts with Kaiming's even distribution, B with zeros, both in float32: at first the network says what it said.

    Args:
        network: ComfyUI's, out of ``load_base``.
        rank: of the update, 1 or more.
        alpha: scale; the rank if None, which makes the factor 1.
        targets: ends of module names; those of the network's family if None: for Wan ``q``, ``k``, ``v``, ``o`` (of self- and
            cross-attention), ``ffn.0``, ``ffn.2``.
        seed: of A.
        start: updates of a LoRA to begin from, by the names of layers; these layers, and no other, get one, each of its own rank.
            ``rank`` is the largest of them then.

    Raises:
        InputError: rank or alpha are out of range, a target names no linear layer of the blocks, or there is a LoRA already.
    """
    if rank < 1 or (alpha is not None and not 0 < alpha < math.inf):
        raise InputError(f"`rank` is {rank} and `alpha` {alpha}; the rank must be 1 or more, alpha a number above 0.")
    if any(isinstance(module, LoraLayer) for module in network.modules()):
        raise InputError("the network has LoRA layers already; load it anew.")
    if start is not None:
        _check_linear(network, start)
        chosen = list(start)
    else:
        chosen = _chosen(network, family_of(network).targets if targets is None else targets)
    _make_linear(network, chosen)
    ranks = {name: pair.a.shape[0] for name, pair in (start or {}).items() if pair.a.shape[0] != rank}
    factor = 1.0 if alpha is None else alpha / rank
    alphas = {name: factor * own for name, own in ranks.items()}
    config = LoraConfig(r=rank, lora_alpha=factor * rank, target_modules=chosen, rank_pattern=ranks, alpha_pattern=alphas)
    network.requires_grad_(False)
    inject_adapter_in_model(config, network, _ADAPTER)
    for name, layer in _layers(network):
        a, b = layer.lora_A[_ADAPTER].float(), layer.lora_B[_ADAPTER].float()  # PEFT gives them the dtype of the base
        bound = 1 / math.sqrt(a.in_features)  # Kaiming's for a = sqrt(5)
        with torch.no_grad():
            if start is not None:
                a.weight.copy_(start[name].a), b.weight.copy_(start[name].b / factor)
            else:
                a.weight.uniform_(-bound, bound, generator=generator("lora", seed, name))
                b.weight.zero_()
        a.requires_grad_(True), b.requires_grad_(True)


def _chosen(network: torch.nn.Module, targets: Sequence[str]) -> list[str]:
    """Names of the linear layers in the blocks that end so."""
    names = [name for name, module in network.named_modules() if name.startswith("blocks.") and _is_linear(module)]
    endings = sorted({re.sub(r"^blocks\.\d+\.", "", name) for name in names})
    for target in targets:
        if not any(f".{ending}".endswith(f".{target}") for ending in endings):
            raise InputError(f"`targets`: {target} is no linear layer of the blocks, which have {', '.join(endings)}.")
    return [name for name in names if name.endswith(tuple(f".{target}" for target in targets))]


def _check_linear(network: torch.nn.Module, names: Iterable[str]) -> None:
    wrong = [name for name in names if not _is_linear(network.get_submodule(name))]
    if wrong:
        raise InputError(f"`init_lora`: {wrong[0]} is no linear layer, so its update cannot be trained further.")


def lora_tensors(network: torch.nn.Module) -> dict[str, Tensor]:
    """The LoRA of a network as a file holds it: ``W + strength B A`` at strength 1 is what was trained.

    The names are those of the official files behind ComfyUI's prefix, which its own loader and the official one both match:
    ``diffusion_model.blocks.0.self_attn.q.lora_A.default.weight``. alpha / rank is multiplied into B.
    """
    tensors = {}
    for name, layer in _layers(network):
        tensors[f"{PREFIX}{name}.lora_A.{_ADAPTER}.weight"] = layer.lora_A[_ADAPTER].weight.detach().clone()
        tensors[f"{PREFIX}{name}.lora_B.{_ADAPTER}.weight"] = layer.scaling[_ADAPTER] * layer.lora_B[_ADAPTER].weight.detach()
    return tensors


class _Wrapped(torch.nn.Linear):
    """A quantised layer of ComfyUI, which is no ``torch.nn.Linear``, in a form that PEFT takes for one."""

    def __init__(self, layer: torch.nn.Module):
        torch.nn.Module.__init__(self)
        self.layer, self.in_features, self.out_features = layer, layer.in_features, layer.out_features

    weight = property(lambda self: self.layer.weight)
    bias = property(lambda self: self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer says."""
        return self.layer(x)


def _layers(network: torch.nn.Module) -> list[tuple[str, LoraLayer]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, LoraLayer)]


def _is_linear(module: torch.nn.Module) -> bool:
    return hasattr(module, "in_features") and getattr(module, "weight", None) is not None


def _make_linear(network: torch.nn.Module, names: Sequence[str]) -> None:
    for name in names:
        module = network.get_submodule(name)
        if not isinstance(module, torch.nn.Linear):
            network.set_submodule(name, _Wrapped(module))
