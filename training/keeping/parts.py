"""A checkpoint of a run whose weights are spread: a folder, in which each process writes its part at the same time as the others.

It is a checkpoint of ``torch.distributed.checkpoint``, so any number of processes reads it back, each only what it needs, with
FSDP2 or without; and a small file beside the parts, with all of the run that is no weight.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.distributed.checkpoint import CheckpointException, FileSystemReader, FileSystemWriter, Metadata, load, save
from torch.distributed.checkpoint.filesystem import FileSystem

from ...pusa_model.storage.files import Part, write_whole
from ...pusa_model.storage.folders import WholeFolder
from ...schedulers import InputError
from .checkpoint import FOLDER, RUN_FILE, VERSION, remove_old

Answer = TypeVar("Answer")

# All that the table of parts may name beside dtypes. It is a pickle, and whatever a pickle names is run when it is read.
_KNOWN = {
    "torch": {"Size"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
}


def save_parts(folder: Path, step: int, content: dict[str, Any], keep: int) -> None:
    """Write a checkpoint, complete or not at all, and remove all but the newest ``keep``; every process must call it.

    Args:
        folder: of the run, the same for all processes.
        content: as for ``save_checkpoint``, with tensors that are spread under ``trained`` and ``optimizer``.

    Raises:
        InputError: a process cannot write its part; then all raise it, and the checkpoints before it stay.
    """
    tensors, rest = _apart(content)
    whole = WholeFolder(folder / FOLDER / f"step-{step:08}", sum(tensor.nbytes for tensor in tensors.values()))
    plain = {"version": VERSION, "step": step} | rest

    def finish() -> None:
        write_whole(whole.part / RUN_FILE, lambda out: torch.save(plain, out), str(whole.path))
        whole.move()
        remove_old(folder, whole.path, keep)

    try:
        part = _by_one(whole.open)
        try:
            save(tensors, storage_writer=_Writer(part))
        except CheckpointException as failures:
            error = _first(failures)
            raise whole.in_words(error) if isinstance(error, OSError) else error from failures
        _by_one(finish)
    finally:
        if PartialState().is_main_process:
            whole.close()


def load_parts(path: Path, content: dict[str, Any], trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fill trained weights from a checkpoint, in place; every process must call it.

    Args:
        content: of the checkpoint, as ``read_checkpoint`` returns it.
        trained: by name, whole or spread over any number of processes.

    Returns:
        The state dict of the optimiser, its tensors spread as the weights are.

    Raises:
        InputError: the weights are others than those of the checkpoint, or a part is missing or damaged.
    """
    reader, parameters = _Reader(path), list(trained.values())
    with _readable(path, Exception):
        stored = reader.read_metadata().state_dict_metadata
    targets = {f"trained.{name}": parameter.detach() for name, parameter in trained.items()}
    there = {name: tuple(found.size) for name, found in stored.items() if name.startswith("trained.")}
    if there != {name: tuple(target.shape) for name, target in targets.items()}:
        raise InputError(f"`resume`: {path.name} holds other trained parameters than this network has.")
    state = {index: dict(kept) for index, kept in content["optimizer"]["state"].items()}
    for name in stored.keys() - there.keys():
        _, index, key = name.split(".", 2)
        size, dtype, like = stored[name].size, stored[name].properties.dtype, parameters[int(index)].detach()
        targets[name] = torch.empty_like(like, dtype=dtype) if size == like.shape else torch.empty(size, dtype=dtype)
        state[int(index)][key] = targets[name]
    with _readable(path, CheckpointException), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process reads alone, as it is meant to
        load(targets, storage_reader=reader)
    return content["optimizer"] | {"state": state}


def _apart(content: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of weights and optimiser by one name each, and all that is left."""
    optimizer = content["optimizer"]
    tensors = {f"trained.{name}": tensor for name, tensor in content["trained"].items()}
    state: dict[int, dict] = {}
    for index, kept in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in kept.items() if isinstance(value, Tensor)}
        state[index] = {key: value for key, value in kept.items() if not isinstance(value, Tensor)}
    rest = {name: value for name, value in content.items() if name != "trained"}
    return tensors, rest | {"optimizer": optimizer | {"state": state}}


def _by_one(action: Callable[[], Answer]) -> Answer:
    """What the main process gets from an action; what it cannot do, none can."""
    answer: list = [None, None]
    if PartialState().is_main_process:
        try:
            answer = [action(), None]
        except InputError as error:
            answer = [None, str(error)]
    done, wrong = broadcast_object_list(answer)
    if wrong is not None:
        raise InputError(wrong)
    return done


def _first(failures: CheckpointException) -> Exception:
    """What went wrong in the first of the processes that failed; a wish to stop goes before it."""
    errors = [error for _, (error, _) in sorted(failures.failures.items())]
    for error in errors:
        if not isinstance(error, Exception):
            raise error
    return errors[0]


@contextmanager
def _readable(path: Path, kind: type[BaseException]) -> Iterator[None]:
    """Within it, an error of a kind is told in words: what is there cannot be read."""
    try:
        yield
    except kind as raised:
        error = _first(raised) if isinstance(raised, CheckpointException) else raised
        reason = [*str(error).splitlines(), type(error).__name__][0][:200]
        raise InputError(
            f"`resume`: {path} cannot be read: a part of it is missing or damaged ({reason}). Give another one of the run."
        ) from raised


class _Disk(FileSystem):
    """Remembers the first error of the disk, which ``torch.save`` does not pass on."""

    error: OSError | None = None

    @contextmanager
    def create_stream(self, path: Path, mode: str) -> Iterator[Part]:
        with Part(path, mode) as stream:
            try:
                yield stream
            finally:
                self.error = self.error or stream.error


class _Writer(FileSystemWriter):
    """Writes each process's part, to the disk (fsync)."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.fs = _Disk()

    def storage_meta(self) -> None:
        """Nothing about the place that it is written at, which it does not stay at."""

    def write_data(self, plan, planner):
        try:
            return super().write_data(plan, planner)
        except Exception as error:
            raise self.fs.error or error from error


class _Reader(FileSystemReader):
    """Reads parts, and of their table nothing but what belongs there."""

    def read_metadata(self, *_, **__) -> Metadata:
        with open(Path(self.path) / ".metadata", "rb") as file:
            return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _KNOWN.get(module, ()) or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"its table names {module}.{name}")
