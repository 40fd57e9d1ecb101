"""LoRAs merged into a model file: streamed from file to file, with the arithmetic of ComfyUI's patcher.

From the shell, in the root of the repository: ``python -m cli.merge BASE OUTPUT --lora FILE[:STRENGTH] ...``
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from torch import Tensor

from ....schedulers import InputError
from ...storage.files import write_whole
from ...storage.safetensors_stream import DTYPES, as_bytes, pack_header
from ..load import check_expert
from ..merged import METADATA, merged_loras, refuse_merged, sha256
from .base import BaseFile, Stored
from .device import device_name, merge_device
from .loras import LoraFile
from .output import check_output, check_space
from .weights import Patch, Patcher, Weight

DEVICE = "pusa_merged_on"  # metadata: the devices whose arithmetic is in the file, the first one first
_FACTORS = (".alpha", ".dora_scale")  # keys that change nothing by themselves
_BLOCK = 4 * 2**20  # bytes copied at a time
Progress = Callable[[int, int], None]


def merge(
    base: str | Path,
    loras: Sequence[tuple[str | Path, float]],
    output: str | Path,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    device: torch.device | None = None,
) -> None:
    """Write a model file with LoRAs added to its weights.

    The output has the names, shapes and dtypes of the base, and in its metadata what was merged, and on what device. It appears
    under its name once it is complete. Weights that no LoRA changes are copied byte for byte; the others are what ComfyUI's patcher
    on a CPU leaves in a model that holds them in the file's dtypes: on a CPU bit for bit, on a GPU within the rounding to that
    dtype. The patcher itself rounds more on its way where there is a GPU.

    Args:
        base: .safetensors of a Wan model in bf16, fp16, fp32, fp8 or scaled fp8.
        loras: files and their strengths; any order gives the same sum up to rounding.
        output: a .safetensors file in a folder that exists.
        overwrite: replace an existing file.
        progress: told how many bytes of how many are done.
        device: where to compute; ComfyUI's by default.

    Raises:
        InputError: a file cannot be used, a LoRA does not fit or is in the base already, or the disk is full.
        InterruptProcessingException: the run was cancelled; nothing is left behind.
    """
    base, output = Path(base), Path(output)
    files = [Path(path) for path, _ in loras]
    try:
        check_output(output, [base, *files], overwrite)
        with BaseFile(base) as source, ThreadPoolExecutor(1) as worker:
            merging = Merging(source, files, [strength for _, strength in loras])
            check_space(output.parent, merging.size)
            steps = Steps(sum(file.stat().st_size for file in files) + merging.size, progress)
            merging.check_new(steps)
            patcher = Patcher(device or merge_device(), worker)
            write_whole(output, lambda out: merging.write(out, patcher, steps), f"`filename`: {output.name}")
            progress(steps.total, steps.total)
    except OSError as error:
        name = Path(error.filename).name if error.filename else output.name
        raise InputError(f"{name} cannot be read or written: {error.strerror or 'input or output failed'}.") from error


class Steps:
    """Bytes done so far; where a run can be cancelled."""

    def __init__(self, total: int, progress: Progress):
        self.done, self.total, self.progress = 0, total, progress

    def advance(self, count: int) -> None:
        """Count bytes.

        Raises:
            InterruptProcessingException: the run was cancelled.
        """
        throw_exception_if_processing_interrupted()
        self.done += count
        self.progress(self.done, self.total)


class Merging:
    """One base and the LoRAs for it, checked against each other."""

    def __init__(self, source: BaseFile, paths: Sequence[Path], strengths: Sequence[float]):
        if not paths:
            raise InputError("`lora_name`: no LoRA was given.")
        self.source, self.paths, self.strengths = source, paths, strengths
        self.loras = [self._fitted(path, strength) for path, strength in zip(paths, strengths)]
        keys = {target for lora in self.loras for key, target in lora.targets.items() if not key.endswith(_FACTORS)}
        self.patched = {stored.name: (key, stored) for key in keys for stored in [source.stored(key)]}
        scales = {stored.scale for _, stored in self.patched.values()}
        # The new scales are float32, whatever the old ones were.
        self.outline = [
            (name, "F32" if name in scales else entry.dtype, entry.shape, 4 if name in scales else entry.size)
            for name, entry in source.entries.items()
        ]
        self.size = sum(size for *_, size in self.outline) + source.data

    def _fitted(self, path: Path, strength: float) -> LoraFile:
        try:
            if not strength or not math.isfinite(strength):
                raise InputError(f"`strength`: {strength:g} merges nothing useful. Give a number other than 0.")
            check_expert(str(path), self.source.name)
            return LoraFile(path, self.source)
        except InputError as error:
            raise InputError(f"{path.name}: {error}") from error

    def check_new(self, steps: Steps) -> None:
        """Read what is in the base already, and note what comes to it.

        Raises:
            InputError: the same LoRA would be merged twice.
        """
        self.merged = merged_loras(self.source.file.name)
        for path, strength in zip(self.paths, self.strengths):
            digest = sha256(path, steps.advance)
            refuse_merged(path, digest, self.merged)
            self.merged.append({"file": path.name, "sha256": digest, "strength": strength})

    def write(self, out: BinaryIO, patcher: Patcher, steps: Steps) -> None:
        """Write the whole file in the order of the base."""
        header, places = pack_header(self.outline, self._metadata(patcher.device))
        out.write(header)
        scales = {}
        for name, place in places.items():
            out.seek(place)
            key, stored = self.patched.get(name, (None, None))
            patches = self._patches(key) if key else []
            for block in self._changed(patcher, key, stored, patches, scales) if patches else self._blocks(name):
                out.write(block)
                steps.advance(len(block))
        for name, scale in scales.items():  # last, because they may lie before the weights that they are computed from
            out.seek(places[name])
            out.write(as_bytes(scale))

    def _metadata(self, device: torch.device) -> dict[str, str]:
        devices = [*filter(None, self.source.metadata.get(DEVICE, "").split(", ")), device_name(device)]
        return self.source.metadata | {METADATA: json.dumps(self.merged), DEVICE: ", ".join(dict.fromkeys(devices))}

    def _blocks(self, name: str) -> Iterator[memoryview]:
        """The bytes of a tensor as they are."""
        size = self.source.entries[name].size
        return (self.source.bytes(name, start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK))

    def _changed(
        self, patcher: Patcher, key: str, stored: Stored, patches: Sequence[Patch], scales: dict[str, Tensor]
    ) -> Iterator[memoryview]:
        """The bytes of a patched weight; its new scale, if it has one, goes into ``scales``."""
        entry = self.source.entries[stored.name]
        weight = Weight(key, entry.shape, DTYPES[entry.dtype], partial(self.source.float_rows, stored), patches)
        if stored.scale is None:
            blocks = patcher.rounded(weight)
        else:
            scales[stored.scale], blocks = patcher.scaled(weight)
        return map(as_bytes, blocks)

    def _patches(self, key: str) -> list[Patch]:
        found = [(strength, lora.patch(key)) for lora, strength in zip(self.loras, self.strengths)]
        return [(strength, patch, 1.0, None, None) for strength, patch in found if patch is not None]
