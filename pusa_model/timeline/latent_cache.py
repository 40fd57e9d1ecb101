"""Latents of frames that were encoded before, so that a change of noise or positions does not run the VAE again.

ComfyUI runs a node again when any of its inputs has changed. In the condition nodes that is most often a multiplier or a position,
while the pictures, whose encoding takes nearly all of the time, are the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from ..storage.tensor_hash import tensor_hash

LIMIT = 64 * 2**20  # bytes of latents kept for one VAE: at 832 x 480, 160 pictures or 8 clips of 81 frames


class LatentCache:
    """Latents by VAE and by the content of the frames; those that were not asked for longest go first.

    A VAE that is no longer in use takes its latents with it.

    Args:
        limit: bytes kept for each VAE; the newest latent is kept in any case.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self._by_vae: WeakKeyDictionary = WeakKeyDictionary()

    def encode(self, vae, frames: Tensor, encoder: Callable[[Any], Any] | None = None) -> Tensor:
        """``vae.encode(frames)``, from memory if these very values were encoded by this VAE, patched as it is.

        Args:
            frames: [F, H, W, 3] in [0, 1].
            encoder: gives what encodes in place of the VAE.

        Returns:
            Latents [1, C, n, h, w]; not to be changed in place.
        """
        kept = self._by_vae.setdefault(vae, OrderedDict())
        key = (encoder, vae.patcher.patches_uuid, tensor_hash(frames))
        if key not in kept:
            kept[key] = (vae if encoder is None else encoder(vae)).encode(frames)
        kept.move_to_end(key)
        while len(kept) > 1 and sum(latent.nbytes for latent in kept.values()) > self.limit:
            kept.popitem(last=False)
        return kept[key]
