"""The LoRAs that are on a MODEL, whichever node put them there: as patches, as hooks, or in injections that bypass the weights.

Two files are told apart, or known as one in two precisions, by the values of their tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import torch
from comfy.weight_adapter import BypassInjectionManager, LoRAAdapter, WeightAdapterBase
from torch import Tensor

from ...schedulers import InputError
from ..families.fps import ATTACHMENT, BIAS
from ..families.lookup import model_file
from .merged import TRAINING, merged_loras, notes
from .provenance import applied_loras, is_distilled

Adapters = Mapping[str, Sequence[WeightAdapterBase]]

# What an official Pusa file changes in every block.
_ATTENTION = [f"{attention}.{part}" for attention in ("self_attn", "cross_attn") for part in "qkvo"]
PUSA_MODULES = (*_ATTENTION, "ffn.0", "ffn.2")


def adapters_on(model) -> dict[str, list[WeightAdapterBase]]:
    """Adapters of each weight of a MODEL whose updates add up: those of its patches, and those in core's injections."""
    found = _of_patches(model.patches)
    for injection in _injections(model):
        for module, (adapter, _) in getattr(_manager(injection), "adapters", {}).items():
            found.setdefault(f"{module}.weight", []).append(adapter)
    return found


def _of_patches(patches: Mapping[str, Sequence[tuple]]) -> dict[str, list[WeightAdapterBase]]:
    return {weight: [each[1] for each in listed if isinstance(each[1], WeightAdapterBase)] for weight, listed in patches.items()}


def _injections(model) -> Iterator:
    for injections in model.injections.values():
        yield from injections


def _manager(injection) -> BypassInjectionManager | None:
    """What core's bypass loaders keep their adapters in: their functions close over it, and nothing else leads there."""
    cells = getattr(injection.inject, "__closure__", None) or ()
    return next((cell.cell_contents for cell in cells if isinstance(cell.cell_contents, BypassInjectionManager)), None)


def is_obscure(model) -> bool:
    """Whether something is on a MODEL that may be a LoRA and cannot be read: another pack's injection, or a merge of models."""
    if any(_manager(injection) is None for injection in _injections(model)):
        return True
    return any(isinstance(patch[1], list) or patch[2] != 1.0 for patches in model.patches.values() for patch in patches)


def loras_on(model) -> list[dict[str, WeightAdapterBase]]:
    """The LoRAs on a MODEL, hooks among them: the adapter of each weight.

    The adapters of one file are known by the set of its keys: ComfyUI gives them all the same one.
    """
    files: dict[int, dict[str, WeightAdapterBase]] = {}
    for adapters in (adapters_on(model), *map(_of_patches, model.hook_patches.values())):
        for weight, listed in adapters.items():
            for adapter in listed:
                files.setdefault(id(keys_of(adapter)), {})[weight] = adapter
    return list(files.values())


def keys_of(adapter: WeightAdapterBase) -> set[str] | None:
    """The keys of the file that an adapter is from; the same object for all adapters of one loading of it."""
    return getattr(adapter, "loaded_keys", None)


def has_unknown_loras(model) -> bool:
    """Whether others than this pack's loaders put LoRAs on a MODEL."""
    known = applied_loras(model)
    told = model.get_attachment(ATTACHMENT) is not None
    here = len(known) < max((len(patches) - (told and name == BIAS) for name, patches in model.patches.items()), default=0)
    marks = {id(lora.keys) for lora in known}
    return here or bool(model.injections) or any(id(keys_of(a)) not in marks for lora in loras_on(model) for a in lora.values())


def pusa_lora_on(model) -> bool:
    """Whether the Pusa LoRA is on a MODEL or in its file; where that cannot be told, it is taken to be.

    It is known by the note of this pack's loaders, by what the file of the model or of the LoRA says, or by its shape.
    """
    path = model_file(model) or ""
    loras = [lora.name for lora in applied_loras(model)] + [str(each.get("file")) for each in merged_loras(path)]
    said = str(model.get_attachment("lora_metadata")).lower()
    if TRAINING in notes(path) or "pusa" in said or not all(map(is_distilled, loras)):
        return True
    distilled = {id(lora.keys) for lora in applied_loras(model)}
    unnamed = [lora for lora in loras_on(model) if not any(id(keys_of(adapter)) in distilled for adapter in lora.values())]
    blocks = len(model.model.diffusion_model.blocks)
    return is_obscure(model) or any(has_pusa_shape(lora, blocks) for lora in unnamed)


def has_pusa_shape(lora: Mapping[str, WeightAdapterBase], blocks: int) -> bool:
    """Whether a LoRA changes what the official Pusa files change: ten modules of every block, as plain low-rank pairs.

    A file of one rank has no alpha. Where a rank was chosen for each module afterwards, every alpha is that rank.
    """
    if lora.keys() != {f"diffusion_model.blocks.{block}.{module}.weight" for block in range(blocks) for module in PUSA_MODULES}:
        return False
    if not all(isinstance(adapter, LoRAAdapter) and adapter.weights[3:] == (None, None, None) for adapter in lora.values()):
        return False
    ranks = [adapter.weights[1].shape[0] for adapter in lora.values()]
    alphas = [adapter.weights[2] for adapter in lora.values()]
    return all(alpha is None for alpha in alphas) or (len(set(ranks)) > 1 and alphas == ranks)


def check_lora_once(model, name: str = "model") -> None:
    """Refuse a MODEL with the same LoRA on it twice, as patches, hooks or injections, in whichever order and precision.

    Hooks are held against the model but not against each other: they may be for different prompts or steps. Where no LoRA is
    there twice, a row at most is read of each two tensors of equal size.

    Raises:
        InputError: names the file where a loader of this pack put it there.
    """
    present = adapters_on(model)
    pairs = [pair for listed in present.values() for pair in combinations(listed, 2)]
    pairs += [pair for patches in model.hook_patches.values() for pair in facing(_of_patches(patches), present)]
    found = next((pair for pair in pairs if same_update(*pair)), None)
    if found is None:
        return
    files = {id(lora.keys): lora.name for lora in applied_loras(model)}
    file = next((files[id(keys_of(adapter))] for adapter in found if id(keys_of(adapter)) in files), None)
    raise InputError(
        f"`{name}`: the same LoRA{f' ({file})' if file else ''} is on it twice, so its strengths add up, which shows as flashes. "
        "Remove one of the two loaders."
    )


def facing(added: Adapters, present: Adapters) -> Iterator[tuple[WeightAdapterBase, WeightAdapterBase]]:
    """Every adapter of one side with every adapter of the other on the same weight."""
    for weight, listed in added.items():
        yield from product(listed, present.get(weight, ()))


def same_update(first: WeightAdapterBase, second: WeightAdapterBase) -> bool:
    """Whether two adapters hold the same tensors, up to the rounding of the coarser precision.

    A value of each is compared, then a row, and the whole only where these agree.
    """
    if type(first) is not type(second):
        return False
    tensors = [[part for part in adapter.weights if isinstance(part, Tensor)] for adapter in (first, second)]
    if [part.shape for part in tensors[0]] != [part.shape for part in tensors[1]]:
        return False
    pairs = [pair for pair in zip(*tensors) if pair[0].numel()]
    if not pairs:
        return False
    if not all(_alike(*(part[(0,) * part.ndim].item() for part in pair), *_rounding(*pair)) for pair in pairs):
        return False
    rows = all(_close(one[:1], other[:1]) for one, other in pairs if one.ndim)
    return rows and all(_close(*pair) and _tells(*pair) for pair in pairs)


def _alike(one: float, other: float, relative: float, absolute: float) -> bool:
    return abs(one - other) <= relative * max(abs(one), abs(other)) + absolute


def _close(one: Tensor, other: Tensor) -> bool:
    relative, absolute = _rounding(one, other)
    one, other = (each.detach().to("cpu", torch.float32) for each in (one, other))
    return bool(((one - other).abs() <= relative * torch.maximum(one.abs(), other.abs()) + absolute).all())


def _tells(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor stands out from its rounding. All zeros, or what float8 makes of small values, are alike in any file."""
    return float(one.detach().float().abs().max()) > 2 * _rounding(one, other)[1]


def _rounding(one: Tensor, other: Tensor) -> tuple[float, float]:
    """By how much a value may differ in two precisions: in proportion to it, and at least."""
    kinds = [torch.finfo(each.dtype) for each in (one, other)]
    return max(kind.eps for kind in kinds), max(kind.smallest_normal * kind.eps for kind in kinds)
