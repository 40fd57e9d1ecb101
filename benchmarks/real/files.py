"""Files of the real names, shapes and dtypes with random numbers, written a tensor at a time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sentencepiece
import torch
from torch import Size, Tensor

from hosting.process import pack_module

from ..card.files import MATRIX
from ..card.networks import WAN_5B, WAN_14B, Wan, shapes, text_encoder, vae

POOL = 2**22  # random numbers, which repeat
NARROW = Wan(1536, 8960, 12, 30, ())  # the widths of Wan2.1 1.3B
TINY = Wan(256, 512, 2, 2, ())
WIDTHS = {"tiny": TINY, "1.3B": NARROW, "full": WAN_14B}
HALF, EIGHT, WHOLE, BYTES = torch.float16, torch.float8_e4m3fn, torch.float32, torch.uint8
Outline = dict[str, tuple[torch.dtype, Size]]


@dataclass(frozen=True)
class File:
    """A model file to write.

    Attributes:
        folder, name: below ComfyUI's models folder.
        tensors: {key: (dtype, shape)}.
    """

    folder: str
    name: str
    tensors: Outline

    @property
    def size(self) -> int:
        """Bytes, less a header."""
        return sum(dtype.itemsize * math.prod(shape) for dtype, shape in self.tensors.values())


def network(name: str, width: str) -> Wan:
    """The network that a diffusion model of a name has, at a width of ``WIDTHS``; Wan2.2 5B has a width of its own when full."""
    wan = WIDTHS[width]
    if "5B" not in name:
        return wan
    return WAN_5B if width == "full" else Wan(wan.dim, wan.ffn_dim, wan.num_heads, wan.num_layers, (), channels=48)


def file_of(folder: str, name: str, width: str) -> File:
    """The file of a name as the ready graphs have it. Text encoder and VAE have one size at every width."""
    if folder == "diffusion_models":
        tensors = {key: (HALF, shape) for key, shape in shapes(network(name, width)).items()}
        return File(folder, name, scaled(tensors) if "fp8_scaled" in name else tensors)
    if folder == "loras":
        return File(folder, name, lora(WIDTHS[width], name))
    module = text_encoder() if folder == "text_encoders" else vae(48 if "2.2" in name else 16)
    tensors = {key: (HALF, tensor.shape) for key, tensor in module.state_dict().items()}
    if folder == "text_encoders":
        tensors = scaled(tensors) | {"spiece_model": (BYTES, Size([len(vocabulary())]))}
    return File(folder, name, tensors)


def scaled(tensors: Outline) -> Outline:
    """The same in fp8 with a scale for each matrix; what is looked up by a number stays as it is."""
    made: Outline = {"scaled_fp8": (EIGHT, Size([2]))}  # of two numbers: products in 16 bits
    for key, (dtype, shape) in tensors.items():
        eight = len(shape) == 2 and key.endswith(".weight") and "shared" not in key and "bias." not in key
        made[key] = (EIGHT if eight else dtype, shape)
        if eight:
            made[f"{key.removesuffix('.weight')}.scale_weight"] = (WHOLE, Size([]))
    return made


def lora(wan: Wan, name: str) -> Outline:
    """A LoRA on every matrix of the blocks: of rank 512 in 16 bits with the keys of Pusa's, or of rank 64 in 32 bits."""
    pusa = "pusa" in name
    rank, dtype = (512, torch.bfloat16) if pusa else (64, WHOLE)
    front, middle = ("", ".default") if pusa else ("diffusion_model.", "")
    made: Outline = {}
    for key, shape in shapes(wan).items():
        if MATRIX.fullmatch(key) and len(shape) == 2:
            stem = front + key.removesuffix(".weight")
            made[f"{stem}.lora_A{middle}.weight"] = (dtype, Size([rank, shape[1]]))
            made[f"{stem}.lora_B{middle}.weight"] = (dtype, Size([shape[0], rank]))
    return made


@cache
def vocabulary() -> bytes:
    """A small SentencePiece model, which the text encoder's tokenizer reads out of its file."""
    model = io.BytesIO()
    lines = iter(["the quick brown fox jumps over the lazy dog", "a harbour in the morning, boats and gulls"] * 50)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=model, vocab_size=60, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


class Numbers:
    """Random tensors: weights by fan-in, norms 1, biases 0."""

    def __init__(self, seed: int = 0):
        self.pool = torch.randn(POOL, generator=torch.Generator().manual_seed(seed)).clamp(-4, 4)

    def tensor(self, key: str, dtype: torch.dtype, shape: Size) -> Tensor:
        """A tensor for a key of a state dict."""
        fan_in = math.sqrt(shape[-1] if len(shape) == 2 else math.prod(shape[1:]))
        if key == "spiece_model":
            return torch.frombuffer(bytearray(vocabulary()), dtype=BYTES)
        if key.endswith(".scale_weight"):
            return torch.tensor(0.01, dtype=dtype)
        if len(shape) < 2:
            return torch.full(shape, float(not key.endswith("bias")), dtype=dtype)
        count = math.prod(shape)
        numbers = self.pool.repeat(-(-count // POOL))[:count].view(shape)
        return (numbers if dtype == EIGHT else numbers / fan_in).to(dtype)


def write(models: Path, files: Iterable[File], numbers: Numbers) -> None:
    """Write files below ComfyUI's models folder."""
    stream = pack_module("pusa_model.storage.safetensors_stream")
    for file in files:
        path = models / file.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pt":
            torch.save({key: numbers.tensor(key, *told) for key, told in file.tensors.items()}, path)
            continue
        keys = sorted(file.tensors, key=lambda key: -file.tensors[key][0].itemsize)  # each tensor at a multiple of its own
        outline = [(key, *file.tensors[key]) for key in keys]
        sizes = [dtype.itemsize * math.prod(shape) for _, dtype, shape in outline]
        entries = [(key, stream.DTYPE_NAMES[dtype], tuple(shape), size) for (key, dtype, shape), size in zip(outline, sizes)]
        with path.open("wb") as out:
            out.write(stream.pack_header(entries, {"format": "pt"})[0])
            for told in outline:
                out.write(stream.as_bytes(numbers.tensor(*told)))
