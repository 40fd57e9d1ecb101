"""The most memory that a call takes at once."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from hosting.process import has_gpu

MMAP_THRESHOLD = -3  # of glibc's mallopt
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Call = Callable[[], object]


def peaks(calls: dict[str, Call], measure: Callable, undo: Call | None = None, rounds: int = 4) -> dict[str, int | None]:
    """Bytes of each call by ``allocated`` or ``resident``; None where that cannot tell.

    The least of some rounds counts: whatever else this process does can only add to it.

    Args:
        undo: runs behind every call and is not measured.
    """
    found = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(measure(calls[name]))
            if undo is not None:
                undo()
    return {name: None if None in values else min(values) for name, values in found.items()}


def allocated(call: Call) -> int | None:
    """Most bytes that PyTorch's allocator has given out at once during a call, of a CUDA device or else of a CPU, exactly."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    if has_gpu():
        return None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        call()
    taken = most = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            taken += event.nbytes()
            most = max(most, taken)
    return most


def resident(call: Call) -> int | None:
    """Most bytes that this process has resident during a call above those before it, pages of files included; only Linux tells.

    It varies by some tens of MiB, with what the system and the libraries keep. Where large tensors have left free room in the heap
    (glibc's malloc takes that first), one that comes behind another may count as two: measure in a process that begins with it.
    """
    gc.collect()
    if not CLEAR.exists():
        return None
    # Every tensor from the system and back to it, so that what is resident is what is in use.
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_THRESHOLD, 2**16)
    libc.malloc_trim(0)
    CLEAR.write_text("5")  # the high-water mark begins anew (proc(5))
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def status(name: str) -> int:
    """A figure of this process in bytes: VmRSS is resident now, VmHWM was at the highest."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
