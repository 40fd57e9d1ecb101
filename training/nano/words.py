"""Captions of the small world as text conditioning: a fixed random vector for every word, and one for its place."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from ...schedulers import InputError
from . import world

WIDTH = 256  # of the text features that the small model declares
PLACES = 16  # longest caption, in words
VOCABULARY = {
    *("a", "above", "on", "background"),
    *world.COLOURS,
    *world.BACKGROUNDS,
    *world.SHAPES,
    *world.SIZES,
    *(word for motion in world.MOTIONS for word in motion.split()),
}


def embed(caption: str) -> Tensor:
    """Text features of a caption: [16, 256], unit variance where there is a word, 0 behind the last; all 0 for no words.

    Raises:
        InputError: a word that the small world does not know, or more than 16.
    """
    told = caption.split()
    unknown = [word for word in told if word not in VOCABULARY]
    if unknown:
        raise InputError(f"The caption `{caption}` has the word `{unknown[0]}`. Known: {', '.join(sorted(VOCABULARY))}.")
    if len(told) > PLACES:
        raise InputError(f"The caption `{caption}` has {len(told)} words; the longest has {PLACES}.")
    features = torch.zeros(PLACES, WIDTH)
    for place, word in enumerate(told):
        features[place] = (vector(word) + vector(f"place {place}")) / 2**0.5
    return features


def vector(name: str) -> Tensor:
    """The fixed normal vector [256] of a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
