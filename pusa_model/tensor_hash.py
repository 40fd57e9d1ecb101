"""Tensors told apart by what they hold."""

import hashlib

import torch
from torch import Tensor


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of dtype, shape and values, for a tensor of any dtype and on any device."""
    plain = tensor.detach().to("cpu").contiguous()
    digest = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
