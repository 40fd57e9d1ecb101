"""Clips and prompts that a graph of ComfyUI holds, as a data set."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...pusa_model.families.table import Family
from ...schedulers import InputError
from ..data.encoded import EncodedDataset


def dataset_of(latents: Sequence[dict], positive: Sequence[list], family: Family) -> EncodedDataset:
    """A data set in memory; clips of a batch count one by one, and so do the prompts of a CONDITIONING.

    Args:
        latents: LATENTs, with ``samples`` [B, C, T, h, w] as a VAE makes them.
        positive: CONDITIONINGs, [[1, L, width], ...]: one prompt for all clips, or one for each.
        family: of the network.

    Raises:
        InputError: a latent is no video of the family's VAE or has a mask, prompts differ in width, or there are fewer or more than
            clips.
    """
    clips = [clip for number, latent in enumerate(latents) for clip in _clips(latent, f"latents: item {number}", family)]
    contexts = [row for conditioning in positive for embedding, _ in conditioning for row in embedding.to("cpu", copy=True)]
    if len(contexts) not in (1, len(clips)):
        raise InputError(
            f"`positive` holds {len(contexts)} prompts for {len(clips)} clips in `latents`; give one for all of them, or as many, "
            "in the same order."
        )
    widths = sorted({context.shape[-1] for context in contexts})
    if len(widths) > 1:
        raise InputError(f"`positive` holds prompts of the widths {widths}; those of one text encoder are needed.")
    return EncodedDataset.from_tensors(clips, contexts, range(len(clips)) if len(contexts) > 1 else [0] * len(clips))


def _clips(latent: dict, name: str, family: Family) -> list[Tensor]:
    """The clips of a batch, [C, T, h, w] as the network sees given frames."""
    samples = latent["samples"]
    if latent.get("noise_mask") is not None:
        raise InputError(f"`{name}` has a noise mask, which training has no use for. Take what sets it out.")
    if samples.ndim != 5:
        raise InputError(
            f"`{name}` has the shape {tuple(samples.shape)}; a video latent is [batch, channels, frames, height, width], as VAE "
            f"Encode makes it with {family.vae}."
        )
    if samples.shape[1] != family.channels:
        raise InputError(
            f"`{name}` has {samples.shape[1]} channels; {family.name} takes {family.channels}. Encode the clips with {family.vae}."
        )
    seen = family.latent_format().process_in(samples.float())
    return list(seen.to("cpu", copy=True))  # what a graph makes is of inference mode, which training cannot keep
