"""LoRA files on disk: read safely, and their keys brought to the one form that ComfyUI's LoRA patcher matches."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import reprlib
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.utils
import safetensors
import torch
from torch import Tensor

from ...schedulers import InputError

_SAFETENSORS = (".safetensors", ".sft")
_LENGTH = 8  # bytes of the number in front of a safetensors header
_LARGEST_HEADER = 8 * 2**20  # bytes; that of the official Pusa files is below 0.2
_LONGEST_NAME = 300
_PREFIX = re.compile(r"^(?:(?:base_model|model|transformer|pipe|dit|diffusion_model)\.)+")
_ADAPTER = re.compile(r"\.(lora_[AB])\.[^.]+\.weight$")


def read_tensors(path: str) -> Any:
    """Content of a LoRA file, memory-mapped where its format allows, through ComfyUI's safe loading.

    Sizes that a file claims are held against its size on disk before anything of that size is read.

    Raises:
        InputError: the file cannot be read as tensors.
    """
    try:
        if Path(path).suffix.lower() in _SAFETENSORS:
            check_header(path)
            return comfy.utils.load_torch_file(path, safe_load=True)
        archive = zipfile.is_zipfile(path)
        if archive:
            check_archive(path)
        content = unwrapped(torch.load(path, map_location="cpu", weights_only=True, mmap=archive))
        if archive:
            check_records(path, content)
        return content
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise _unreadable("it is damaged, or holds more than tensors, which is refused because it could run code") from error
    except Exception as error:  # every reader has its own exceptions; the file is at fault for all of them
        raise _unreadable("it is damaged, or not a file of tensors that torch wrote") from error


def check_header(path: str) -> None:
    """Refuse a safetensors file that is cut off, is damaged, or names a tensor twice (its library would keep the last).

    Raises:
        InputError: says which.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 0 < length <= min(size - _LENGTH, _LARGEST_HEADER):
            raise _unreadable(f"it is empty, cut off, or not in the safetensors format ({size} bytes)")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_named_once)
        stops = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = _LENGTH + length + max(stops, default=0)
        if size != whole:
            raise _unreadable(f"it is {'cut off' if size < whole else 'longer than its tensors'}: {size} bytes instead of {whole}")
        with safetensors.safe_open(path, framework="pt"):  # the library checks every shape and offset, and reads no tensor
            pass
    except InputError:
        raise
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise _unreadable("its safetensors header is damaged") from error


def check_archive(path: str) -> None:
    """Refuse a zip archive that torch did not write: entries that are compressed, larger than the file, or named twice.

    Raises:
        InputError: says which.
    """
    size, names = os.path.getsize(path), set()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
                raise _unreadable("it is a zip archive that would unpack to more than its size, which torch never writes")
            if entry.filename in names:
                raise _unreadable("it is a zip archive with two entries of one name")
            names.add(entry.filename)


def check_records(path: str, content: Any) -> None:
    """Refuse a torch archive whose entries have other sizes than its pickle says: what is mapped would reach into the next one.

    Raises:
        InputError: an entry is too short or too long.
    """
    tensors = content.values() if isinstance(content, Mapping) else ()
    storages = [each.untyped_storage() for each in tensors if isinstance(each, Tensor) and each.layout == torch.strided]
    claimed = Counter({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    with zipfile.ZipFile(path) as archive:
        there = Counter(entry.file_size for entry in archive.infolist())
    if claimed - there:
        raise _unreadable("it is damaged: an entry has another size than its tensor")


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _unreadable("its safetensors header names a tensor twice")
    return content


def _unreadable(why: str) -> InputError:
    return InputError(
        f"`lora_name`: the file cannot be read as a LoRA: {why}. Download it again, as .safetensors where there is one."
    )


def unwrapped(content: Any) -> Any:
    """The tensors of a checkpoint that holds them in one entry, as training frameworks write it."""
    if isinstance(content, Mapping):
        for name in ("state_dict", "module") if len(content) > 1 else content:
            if isinstance(content.get(name), Mapping):
                return content[name]
    return content


def rename_keys(file: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring LoRA keys to ``diffusion_model.<module>.<part>``: other prefixes and PEFT adapter names are dropped.

    ``blocks.0.self_attn.q.lora_A.default.weight``, the form of the official files, becomes
    ``diffusion_model.blocks.0.self_attn.q.lora_A.weight``. Keys in the ``lora_unet_`` form stay as they are.

    Raises:
        InputError: an entry is not a plain tensor of floating-point numbers (integers for an alpha), its name is not one, or
            two keys become one.
    """
    if not isinstance(file, Mapping):
        raise InputError(f"`lora_name`: the file holds a {type(file).__name__}, not tensors by name. Use another file.")
    renamed: dict[str, Tensor] = {}
    for key, value in file.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            entry = f"{reprlib.repr(key)} is a {type(value).__name__}"
            raise InputError(f"`lora_name`: the entry {entry}, not a tensor with a name. Use another file.")
        if len(key) > _LONGEST_NAME or not key.isprintable():
            raise InputError(f"`lora_name`: a key of the file cannot be the name of a weight ({key[:60]!r}). Use another file.")
        if not _is_plain(value) or not (value.is_floating_point() or key.endswith(".alpha")):
            raise InputError(
                f"`lora_name`: {key} is not a plain tensor of floating-point numbers ({_kind(value)}), so it cannot be added to "
                "a weight. Use a LoRA in float32, bfloat16, float16 or float8."
            )
        name = key.replace("lora_unet__", "lora_unet_", 1)  # as the Wan Fun LoRAs spell it
        name = name if name.startswith("lora_unet_") else "diffusion_model." + _PREFIX.sub("", name)
        name = _ADAPTER.sub(r".\1.weight", name)
        if name in renamed:
            raise InputError(f"`lora_name`: two keys of the file name the same weight ({key}). Use another file.")
        renamed[name] = value
    return renamed


def check_values(lora: Mapping[str, Tensor]) -> None:
    """Refuse values that are not finite: a single one spreads over every frame of the video.

    Reads the file once, a tensor at a time and in its own precision (fp8 by way of float32), and keeps nothing. On 560 MB in
    bfloat16 that took a hundredth of the time that adding them to the weights takes, and a tenth with the disk.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    for key, tensor in lora.items():
        values = tensor.float() if tensor.element_size() == 1 else tensor  # torch has no aminmax of fp8
        if values.numel() and not all(math.isfinite(value) for value in torch.aminmax(values.detach())):
            raise InputError(
                f"`lora_name`: {key} holds values that are not finite numbers (NaN or infinity). The file is damaged, or was "
                "saved by a training that failed. Download it again, or use another one."
            )


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor's values lie in the file one by one: not sparse, without data, or one value repeated by its strides."""
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    return dense and tensor.untyped_storage().nbytes() >= tensor.nbytes


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
