"""What a value is, in words that are the same in every process for the same content, and for nothing else.

Plain data and tensors are what they hold, a MODEL or a VAE its weights and what was put on it. Whatever cannot be described
that way (functions, objects, code of other packs) is known as itself only: by a number under the random token of this process,
which no other process ever has.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import itertools
import os
import secrets
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import comfy
import comfy.ldm.modules.attention
import comfy.model_management
import comfy.samplers
import torch
from comfy.cli_args import args
from comfy.k_diffusion import sampling as k_sampling
from comfy.model_patcher import ModelPatcher
from comfy.quant_ops import QuantizedTensor
from comfy.sd import VAE
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor, nn

from .tensor_hash import tensor_hash

_RANDOM = secrets.token_hex(16)
_MOST = 2**20  # bytes read of one weight; a model of 14B has 400 large ones
_HOST = ("comfy", "torch", __name__.partition(".")[0])  # code that `environment` knows
_OURS = "pusa_"  # attachments by which this pack tells where a model comes from
# Flags that say where things are, who is served and how much is kept, and change no value that a sampler computes.
_IDLE_FLAGS = (
    "listen port tls_keyfile tls_certfile enable_cors_header max_upload_size base_directory extra_model_paths_config "
    "output_directory temp_directory input_directory user_directory models_directory auto_launch disable_auto_launch cuda_device "
    "default_device preview_method preview_size cache_ram cache_classic cache_lru cache_none high_ram enable_manager "
    "disable_manager_ui enable_manager_legacy_ui debug_hang dont_print_server quick_test_for_ci windows_standalone_build "
    "disable_metadata disable_all_custom_nodes whitelist_custom_nodes disable_api_nodes multi_user verbose log_stdout "
    "front_end_version front_end_root enable_compress_response_body comfy_api_base database_url enable_assets "
    "enable_asset_hashing feature_flag list_feature_flags default_hashing_function disable_mmap mmap_torch_files"
).split()

_STARTED = time.time()
_numbers = itertools.count()
_objects: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_contents: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # of networks and LoRA adapters, whose tensors nobody changes


class Unstorable(Exception):
    """A value that cannot be told from others even in this process."""


def process_token() -> str:
    """What this process alone is called; a process id would come back, in a container after every restart."""
    return f"{_RANDOM}-{os.getpid()}"


def is_lasting(words: str) -> bool:
    """Whether an identity means the same in every process."""
    return process_token() not in words


def identity(value: Any) -> str:
    """What a value is.

    Raises:
        Unstorable: it is an object that cannot even be numbered.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)) and type(value).__module__ in ("builtins", "numpy"):
        return repr(value)
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda each: repr(each[0]))
        return f"{{{', '.join(f'{identity(key)}: {identity(item)}' for key, item in items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(identity, value))}]"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(identity, value)))}}}"
    if isinstance(value, enum.Enum):
        return f"{_name(type(value))}.{value.name}"
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if isinstance(value, type) and _is_known(value):
        return _name(value)
    describe = next((describe for kind, describe in _KINDS.items() if type(value) is kind), None)
    if describe is None and isinstance(value, ModelPatcher):
        describe = _patcher
    if describe is None and isinstance(value, WeightAdapterBase):
        describe = _adapter
    if describe is not None and _is_known(type(value)):
        return describe(value)
    return _number(value)


def sampler_functions(sampler_name: str, scheduler: str) -> list[Callable]:
    """The functions behind the names of a sampler and a scheduler that neither ComfyUI nor this pack brought."""
    handler = comfy.samplers.SCHEDULER_HANDLERS.get(scheduler)
    functions = getattr(k_sampling, f"sample_{sampler_name}", None), handler and handler.handler
    found = [getattr(each, "func", each) for each in functions if each is not None]  # some are partial
    return [each for each in found if not _is_known(inspect.unwrap(each))]


@cache
def environment() -> str:
    """What computes: the code of this pack and of ComfyUI, PyTorch, the device, attention, and ComfyUI's flags."""
    device = comfy.model_management.get_torch_device()
    flags = {name: value for name, value in vars(args).items() if name not in _IDLE_FLAGS}
    return identity(
        {
            "code": [_code(Path(__file__).parents[2], "pusa_model", "schedulers"), _code(Path(comfy.__path__[0]), "")],
            "torch": str(torch.__version__),
            "device": [device.type, comfy.model_management.get_torch_device_name(device).removeprefix(str(device))],
            "attention": _name(comfy.ldm.modules.attention.optimized_attention),
            "flags": flags,
        }
    )


def _code(root: Path, *folders: str) -> str:
    """Hash of the sources in folders; nothing that lasts if one was changed since they were imported."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        about = path.stat()
        if max(about.st_mtime, about.st_ctime) > _STARTED:
            return process_token()
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _number(value: Any) -> str:
    try:
        return _objects.setdefault(value, f"object {process_token()} {next(_numbers)}")
    except TypeError as error:
        raise Unstorable from error


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _is_known(thing: Any) -> bool:
    """Whether a class or function is of the code that ``environment`` counts in."""
    return getattr(thing, "__module__", "").partition(".")[0] in _HOST


def _kind(value: Any) -> str:
    """A class and what it inherits; classes made on the fly differ in that alone. Unknown ones are numbered."""
    kinds = type(value).__mro__[:-1]
    return ", ".join(_name(kind) if _is_known(kind) else _number(kind) for kind in kinds)


def _remembered(value: Any, describe: Callable[[Any], str]) -> str:
    if value not in _contents:
        try:
            words = describe(value)
        except Unstorable:
            words = _number(value)
        _contents[value] = hashlib.sha256(words.encode()).hexdigest() if is_lasting(words) else words
    return _contents[value]


def _tensor(tensor: Tensor, most: int | None = None) -> str:
    if isinstance(tensor, QuantizedTensor):
        return identity([tensor._layout_cls, _tensor(tensor._qdata, most), dataclasses.asdict(tensor._params)])
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_meta:
        raise Unstorable  # such as the weights of GGUF files, and those that are not in memory
    return tensor_hash(tensor, most)


def _adapter(adapter: WeightAdapterBase) -> str:
    """A LoRA's tensors for one weight."""
    return _remembered(adapter, lambda adapter: f"{_kind(adapter)} {_weights(adapter.weights)}")


def _weights(weights) -> str:
    return identity([_tensor(each, _MOST) if isinstance(each, Tensor) else each for each in weights])


def _patcher(patcher: ModelPatcher) -> str:
    """A network and all that was put on it: a clone with the same content is the same, unless something is beyond words."""
    words = identity(
        {
            "kind": "dynamic" if patcher.is_dynamic() else "static",
            "network": _remembered(patcher.model, lambda network: _network(network, patcher)),
            "patches": patcher.patches,
            "objects": {key: _part(value) for key, value in patcher.object_patches.items()},
            "sampling": _part(patcher.get_model_object("model_sampling")) if hasattr(patcher.model, "model_sampling") else None,
            "options": patcher.model_options,
            "attachments": {key: value for key, value in patcher.attachments.items() if not key.startswith(_OURS)},
            "device": patcher.load_device.type,
            "rest": [
                patcher.weight_wrapper_patches,
                patcher.additional_models,
                patcher.callbacks,
                patcher.wrappers,
                patcher.injections,
                patcher.hook_patches,
                patcher.current_hooks,
                patcher.forced_hooks,
                patcher.force_cast_weights,
                patcher.weight_inplace_update,
            ],
        }
    )
    return words if is_lasting(words) else f"{_number(patcher)} {words}"


def _network(network: nn.Module, patcher: ModelPatcher) -> str:
    """Classes, weights as they are without LoRAs, and the settings that the loader gave."""
    prefix = "diffusion_model" if hasattr(network, "diffusion_model") else ""  # beside it lies what object patches replace
    body = network.diffusion_model if prefix else network
    tensors = itertools.chain(body.named_parameters(prefix), body.named_buffers(prefix))
    settings = getattr(network, "model_config", None)
    return identity(
        [
            _kind(network),
            [(name, _kind(part)) for name, part in body.named_modules()],
            {name: _tensor(_unpatched(patcher, name, tensor), _MOST) for name, tensor in tensors},
            settings and {key: value for key, value in vars(settings).items() if key != "latent_format"},
            getattr(network, "manual_cast_dtype", None),
        ]
    )


def _unpatched(patcher: ModelPatcher, name: str, weight: Tensor) -> Tensor:
    """A weight as ComfyUI keeps it while a LoRA is in its place."""
    if name in patcher.hook_backup:
        return patcher.hook_backup[name][0]
    return patcher.backup[name].weight if name in patcher.backup else weight


def _part(value: Any) -> Any:
    """An object patch: a module of ComfyUI such as a ``model_sampling``, by its class, tensors and plain attributes."""
    if not isinstance(value, nn.Module) or list(value.children()):
        return value
    attributes = {key: item for key, item in vars(value).items() if not key.startswith("_")}
    return [_kind(value), dict(value.named_parameters()), dict(value.named_buffers()), attributes]


def _vae(vae: VAE) -> str:
    plain = {key: value for key, value in vars(vae).items() if key not in ("patcher", "first_stage_model")}
    return identity([_patcher(vae.patcher), {key: _without_code(value) for key, value in plain.items()}])


def _without_code(value: Any) -> Any:
    """A value less the functions of ComfyUI in it, which its class and its code stand for."""
    if isinstance(value, tuple):
        return tuple(map(_without_code, value))
    return "code" if inspect.isfunction(value) and _is_known(value) else value


_KINDS = {VAE: _vae}
