"""The model file that LoRAs are merged into: which of its tensors are weights, how they are stored, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.lora
import torch
from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor, get_layout_class
from torch import Size, Tensor

from ....schedulers import InputError
from ...storage.safetensors_stream import DTYPES, SUFFIXES, TensorFile
from .rounding import FP8, pieces

MODEL = "diffusion_model."  # what every name begins with in a MODEL, whatever it begins with in the file
FLOATS = (torch.bfloat16, torch.float16, torch.float32, *FP8)
_PREFIXES = ("model.diffusion_model.", MODEL, "")
_QUANTISATION = "_quantization_metadata"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.", re.IGNORECASE)
_SCALES = ("F32", "F16", "BF16")  # dtypes of an fp8 scale
_READ = 2**20  # elements read at a time
_ALLOWED = "Take a single .safetensors file of Wan in bf16, fp16, fp32, fp8 or scaled fp8"


def check_kind(path: Path) -> None:
    """Refuse a base by its name alone.

    Raises:
        InputError: it is no single safetensors file; says what is allowed.
    """
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        found = "a GGUF file; its blocks would have to be quantised again. Load it with its own loader and add the LoRA there"
    elif suffix not in SUFFIXES:
        found = f"a {suffix or 'file without suffix'} file, not a .safetensors file"
    elif _SHARD.search(path.name):
        found = "one part of a model that is split over several files"
    else:
        return
    raise InputError(f"`base_name`: {path.name} is {found}. {_ALLOWED}.")


@dataclass(frozen=True)
class Stored:
    """How one weight lies in the file.

    Attributes:
        name: of its tensor.
        scale: name of the tensor that holds its fp8 scale; None if it is stored plainly.
        layout: ComfyUI's name for the way it is scaled; None if it is stored plainly.
    """

    name: str
    scale: str | None = None
    layout: str | None = None


class BaseFile(TensorFile):
    """A safetensors file with a Wan model in it."""

    def __init__(self, path: Path):
        """Open and check a file.

        Raises:
            InputError: it is of a kind that LoRAs cannot be merged into, damaged, or holds no Wan model.
            OSError: it cannot be opened.
        """
        check_kind(path)
        try:
            super().__init__(path)
        except InputError as error:
            raise InputError(f"`base_name`: {error}") from error
        self.name = path.name
        try:
            self._describe()
        except BaseException:
            self.file.close()
            raise

    def _describe(self) -> None:
        prefix = next((each for each in _PREFIXES if f"{each}patch_embedding.weight" in self.entries), None)
        if prefix is None:
            raise InputError(f"`base_name`: {self.name} holds no Wan model (it has no patch_embedding). {_ALLOWED}.")
        self.prefix = prefix
        self.names = {
            MODEL + name.removeprefix(prefix): name
            for name in self.entries
            if name.startswith(prefix) and name.endswith((".weight", ".bias"))
        }
        self.shapes = {key: Size(self.entries[name].shape) for key, name in self.names.items()}
        self._layers = self._described_layers()

    def _described_layers(self) -> dict[str, Any]:
        """What the metadata say of each layer's quantisation."""
        if _QUANTISATION not in self.metadata:
            return {}
        layers = self._note(self.metadata[_QUANTISATION], "its metadata").get("layers")
        if not isinstance(layers, dict):
            raise self._damaged("its metadata")
        return layers

    def _note(self, text: str | bytes, where: str) -> dict[str, Any]:
        """A note on quantisation, which is a JSON object."""
        try:
            note = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damaged(where) from error
        if not isinstance(note, dict):
            raise self._damaged(where)
        return note

    def _damaged(self, where: str) -> InputError:
        return InputError(
            f"`base_name`: {self.name} has a note on its quantisation that cannot be read, in {where}. The file is damaged: "
            "download it again, or use another one."
        )

    def modules(self) -> dict[str, str]:
        """The weight that each LoRA module name stands for, as ComfyUI maps them for a model with these weights."""
        network = SimpleNamespace(state_dict=lambda: self.names, model_config=SimpleNamespace(unet_config={}))
        return comfy.lora.model_lora_keys_unet(network, {})

    def stored(self, key: str) -> Stored:
        """How the weight or bias of a MODEL is stored.

        Raises:
            InputError: in a way that cannot be merged into.
        """
        name = self.names[key]
        dtype = DTYPES.get(self.entries[name].dtype)
        quantised = self._format(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if quantised is None:
            if dtype not in FLOATS:
                raise InputError(f"`base_name`: {self.name} stores {name} as {self.entries[name].dtype}. {_ALLOWED}.")
            return Stored(name)
        kind, scale = quantised
        if kind not in ("float8_e4m3fn", "float8_e5m2") or dtype != QUANT_ALGOS.get(kind, {}).get("storage_t"):
            raise InputError(
                f"`base_name`: {self.name} stores {name} as {kind} in {self.entries[name].dtype}, which LoRAs cannot be merged "
                f"into here. {_ALLOWED}."
            )
        self._check_scale(name, scale)
        return Stored(name, scale, QUANT_ALGOS[kind]["comfy_tensor_layout"])

    def _check_scale(self, name: str, scale: str) -> None:
        """Refuse a scale that is missing or is no number."""
        entry = self.entries.get(scale)
        if entry is None or entry.dtype not in _SCALES or Size(entry.shape).numel() != 1 or not self.read(scale).isfinite().all():
            found = "is missing" if entry is None else "is not one finite number"
            raise InputError(
                f"`base_name`: {self.name} stores {name} in scaled fp8, and its scale ({scale.rpartition('.')[2]}) {found}. "
                "The file is damaged: download it again, or use another one."
            )

    def _format(self, layer: str) -> tuple[str, str] | None:
        """Quantisation of a layer and the name of its scale, from any of the three places that ComfyUI reads it from."""
        if _QUANTISATION in self.metadata:
            described = self._layers.get(layer) or self._layers.get(layer.removeprefix(self.prefix))
        elif f"{self.prefix}scaled_fp8" in self.entries:
            return ("float8_e4m3fn", f"{layer}.scale_weight") if f"{layer}.scale_weight" in self.entries else None
        else:
            described = None
        if described is None and f"{layer}.comfy_quant" in self.entries:
            described = self._note(bytes(self.bytes(f"{layer}.comfy_quant")), f"{layer}.comfy_quant")
        if not described:
            return None
        if not isinstance(described, dict) or not isinstance(described.get("format"), str):
            raise self._damaged(layer)
        return described["format"], f"{layer}.weight_scale"

    def float_rows(self, stored: Stored, first: int, last: int, out: Tensor) -> None:
        """Write rows [first, last) of a weight into float32 memory of their shape, with its scale applied as ComfyUI applies it."""
        dtype = DTYPES[self.entries[stored.name].dtype]
        values = self._values(stored, dtype).to(out.device) if dtype in FP8 else None
        start = first * (out.numel() // (last - first))
        for block in out.view(-1).split(_READ):
            numbers = self.read_flat(stored.name, start, block.numel()).to(out.device)
            start += block.numel()
            if values is None:
                block.copy_(numbers)
                continue
            for piece, some in zip(pieces(block), pieces(numbers.view(torch.uint8))):
                torch.index_select(values, 0, some.to(torch.int32), out=piece)

    def _values(self, stored: Stored, dtype: torch.dtype) -> Tensor:
        """What each byte of an fp8 weight stands for, float32 [256]."""
        numbers = torch.arange(256, dtype=torch.uint8).view(dtype)
        if stored.scale is None:
            return numbers.to(torch.float32)
        scale = self.read(stored.scale).reshape(())
        params = get_layout_class(stored.layout).Params(scale=scale, orig_dtype=torch.float32, orig_shape=(256,))
        return QuantizedTensor(numbers, stored.layout, params).dequantize()
