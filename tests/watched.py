"""What a piece of code asks of PyTorch and of the machine: which lines wait for the device, what is allocated, what is resident."""

import sys
import threading
from collections import Counter
from pathlib import Path

import psutil
import torch
from host_comfyui import ROOT
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PACK = ROOT / "pusa_model"
TORCH = Path(torch.__file__).parent
PROCESS = psutil.Process()
WAITING = {
    "__bool__", "__float__", "__index__", "__int__", "argwhere", "as_tensor", "cpu", "equal", "is_nonzero", "item",
    "masked_select", "nonzero", "numpy", "tensor", "tolist", "unique",
}  # fmt: skip


def caller() -> Path:
    """File of the line that called into torch."""
    frame = sys._getframe(1)
    while Path(frame.f_code.co_filename).is_relative_to(TORCH) or frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return Path(frame.f_code.co_filename)


class Waits(TorchFunctionMode):
    """Calls from this pack that make the host wait for a GPU, or send it something: reading a value, an index that is a list.

    Attributes:
        found: (what ``now`` returned, file, function).
    """

    def __init__(self, now):
        super().__init__()
        self.now, self.found = now, []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        lists = name in ("__getitem__", "__setitem__") and any(isinstance(part, list) for part in as_tuple(args[1]))
        if name in WAITING or lists:
            file = caller()
            if file.is_relative_to(PACK):
                self.found.append((self.now(), file.name, name))
        return function(*args, **kwargs or {})


def as_tuple(index) -> tuple:
    return index if isinstance(index, tuple) else (index,)


class Operations(TorchDispatchMode):
    """Every operation that PyTorch is asked for.

    Attributes:
        counts: how often, by name.
        allocated: (what ``now`` returned, file that called, bytes) of every tensor that an operation returned and had not got.
    """

    def __init__(self, now=lambda: None):
        super().__init__()
        self.now, self.counts, self.allocated = now, Counter(), []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **kwargs or {})
        self.counts[operation.overloadpacket.__name__] += 1
        given = {storage(part) for part in tensors([args, list((kwargs or {}).values())])}
        for made in tensors([result]):
            if storage(made) not in given:
                self.allocated.append((self.now(), caller(), made.untyped_storage().nbytes()))
        return result


def tensors(nested) -> list[torch.Tensor]:
    """All tensors in lists and tuples within one another."""
    found = []
    for part in nested:
        if isinstance(part, torch.Tensor):
            found.append(part)
        elif isinstance(part, (list, tuple)):
            found += tensors(part)
    return found


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Peak:
    """Largest resident memory within a with block, in bytes above that at its start."""

    def __enter__(self):
        self.start = self.largest = PROCESS.memory_info().rss
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.done.wait(0.001):
            self.largest = max(self.largest, PROCESS.memory_info().rss)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.bytes = max(self.largest, PROCESS.memory_info().rss) - self.start
