"""The scenes of the small world as latents and captions: what its text-to-video model and its LoRA are trained on.

Run as `python -m training.nano latents VAE.safetensors OUTPUT.safetensors`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import comfy.latent_formats
import torch
from safetensors import safe_open
from tqdm import tqdm

from ..data.encoded import EncodedDataset
from ..files import write_tensors
from . import causal, vae, words, world

SCENES = 8000
BATCH = 4
FIRST = 1_000_000  # seed of the first scene; the VAE was trained on others


@torch.no_grad()
def encode_scenes(
    network: torch.nn.Module, seeds: range, split: str = "train", dtype: torch.dtype = torch.bfloat16
) -> torch.Tensor:
    """Latents of whole scenes in the scale of the diffusion model, [N, 16, 9, 8, 8], float16."""
    wan = comfy.latent_formats.Wan21()
    made = []
    for first in tqdm(range(seeds.start, seeds.stop, BATCH), unit=f"{BATCH} clips", disable=not sys.stderr.isatty()):
        count = min(BATCH, seeds.stop - first)
        latent = causal.encode(network, vae.clips(first, count, world.FRAMES, split).to(dtype))
        made.append(wan.process_in(latent.float()).half())
    return torch.cat(made)


def load_dataset(path: str | Path, share: float = 1.0) -> EncodedDataset:
    """The file of this step, or the first share of its scenes, as a data set in memory."""
    with safe_open(path, "pt") as file:
        captions = json.loads(file.metadata()["captions"])
        captions = captions[: round(share * len(captions))]
        latents = file.get_tensor("latents")[: len(captions)].float()
    told = {caption: number for number, caption in enumerate(sorted(set(captions)))}
    contexts = torch.stack([words.embed(caption) for caption in told])
    return EncodedDataset.from_tensors(latents, contexts, [told[caption] for caption in captions], words.embed(""))


def main(arguments: list[str]) -> int:
    """Encode and save."""
    source, output = map(Path, arguments)
    seeds = range(FIRST, FIRST + SCENES)
    latents = encode_scenes(vae.load(source), seeds)
    captions = [world.scene(seed).caption for seed in seeds]
    write_tensors(output, {"latents": latents}, {"captions": json.dumps(captions)})
    spread = latents.float().std((0, 2, 3, 4))
    print(f"{output}: {len(latents)} clips; standard deviation of the channels {spread.min():.2f} to {spread.max():.2f}")
    return 0
