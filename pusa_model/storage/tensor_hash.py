"""Tensors told apart by what they hold."""

import hashlib

import torch
from torch import Tensor

_BLOCK = 4096  # bytes


def tensor_hash(tensor: Tensor, most: int | None = None) -> str:
    """SHA-256 of dtype, shape and values, for a tensor of any dtype and on any device.

    Args:
        tensor: of any shape.
        most: bytes that are read at most: of a larger tensor, blocks of 4096 bytes evenly from its beginning to its end. That
            tells weights apart that were trained, merged or rounded in another way; all of them are read if None.
    """
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if most is not None and len(flat) > most:
        blocks = flat[: len(flat) // _BLOCK * _BLOCK].view(-1, _BLOCK)
        flat = blocks[torch.linspace(0, len(blocks) - 1, most // _BLOCK, dtype=torch.float64).long().to(flat.device)]
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(flat.cpu().reshape(-1).numpy())
    return digest.hexdigest()
