"""A LoRA file whose tensors are read for one weight at a time."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import comfy.lora
from torch import Tensor

from ...storage.safetensors_stream import SUFFIXES, TensorFile
from ..file import check_values, read_tensors, rename_keys
from ..load import check_fit, without_modulation
from .base import BaseFile

_MAPPED = 64 * 2**20  # bytes


class LoraFile:
    """A LoRA file that fits a base.

    Attributes:
        targets: the weight or bias that each renamed key changes.
    """

    def __init__(self, path: Path, base: BaseFile):
        """Read the names and shapes of a file.

        Raises:
            InputError: it cannot be read as tensors, or a key of it matches no weight of the base in name or in size.
        """
        self.path = path
        self._content = read_tensors(str(path))
        self._modules = base.modules()
        renamed = rename_keys(self._content)
        self._names = dict(zip(renamed, self._content))
        self.targets = check_fit(without_modulation(renamed, logging.warning), self._modules, base.shapes)
        self._keys: dict[str, list[str]] = {}
        for key in self.targets:
            self._keys.setdefault(self._module(key), []).append(key)
        self._streamed = path.suffix.lower() in SUFFIXES
        if self._streamed:
            self._content = None
        self._mapped = not self._streamed and zipfile.is_zipfile(path)
        self._touched = 0

    def patch(self, target: str) -> Any:
        """What ComfyUI's patcher takes for one weight or bias of a MODEL; None if the file does not change it."""
        modules = {self._module(key) for key, changed in self.targets.items() if changed == target}
        tensors = self._read([key for module in modules for key in self._keys[module]])
        check_values(tensors)
        names = {name: weight for name, weight in self._modules.items() if name in modules}
        return comfy.lora.load_lora(tensors, names, log_missing=False).get(target)

    def _module(self, key: str) -> str:
        """``a.b.lora_A.weight`` and ``a.b.diff`` are parts of the module ``a.b``."""
        name = key.rpartition(".")[0]
        return name if name in self._modules else name.rpartition(".")[0]

    def _read(self, keys: list[str]) -> dict[str, Tensor]:
        if self._streamed:
            with TensorFile(self.path) as file:
                return {key: file.read(self._names[key]) for key in keys}
        if self._mapped and self._touched > _MAPPED:  # pages of a mapping count as memory of the process until it is closed
            self._content, self._touched = read_tensors(str(self.path)), 0
        tensors = {key: self._content[self._names[key]] for key in keys}
        self._touched += sum(tensor.nbytes for tensor in tensors.values())
        return tensors
