"""A node pack for the server under test: a node that tells what comes to it, and the state of the process at GET /probe.

`benchmarks/reliability/host.py` puts it there.
"""

import dataclasses
import hashlib
import os

import torch
from aiohttp import web
from server import PromptServer

DEEPEST = 6


def told(value, depth: int = 0):
    """What a value is, as JSON: of tensors the shape, a hash of the bytes, and whether all is finite."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        finite = bool(plain.double().isfinite().all()) if plain.is_floating_point() else True
        data = hashlib.sha256(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:32] if plain.numel() else ""
        return {"shape": list(plain.shape), "dtype": str(plain.dtype), "finite": finite, "sha256": data}
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)[:1000]
    if depth == DEEPEST:
        return type(value).__name__
    if isinstance(value, dict):
        return {str(key): told(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [told(item, depth + 1) for item in value]
    if hasattr(value, "get_components"):
        parts = value.get_components()
        return told({"images": parts.images, "audio": parts.audio, "rate": str(parts.frame_rate)}, depth + 1)
    if dataclasses.is_dataclass(value):
        return {each.name: told(getattr(value, each.name), depth + 1) for each in dataclasses.fields(value)}
    return type(value).__name__


class Probe:
    """An output node that takes anything and leaves what it is in the history."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*",)}})
    RETURN_TYPES = ()
    FUNCTION = "look"
    OUTPUT_NODE = True

    def look(self, value):
        return {"ui": {"told": [told(value)]}}


@PromptServer.instance.routes.get("/probe")
async def state(request):
    with open("/proc/self/status", encoding="ascii") as file:
        (resident,) = [int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS")]
    return web.json_response({"resident": resident, "handles": len(os.listdir("/proc/self/fd"))})


NODE_CLASS_MAPPINGS = {"ReliabilityProbe": Probe}
