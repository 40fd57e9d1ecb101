"""Noise and un-noise of every frame at its own level, and the timestep of a level, by ComfyUI's ``model_sampling``."""

from __future__ import annotations

from contextlib import contextmanager

import comfy.model_sampling
from torch import Tensor

from ..schedulers import InputError, frame_levels
from .paths.own_path import OwnPath
from .paths.table_path import MOST, TablePath, per_frame


@contextmanager
def per_frame_noising(guider, multipliers: Tensor, own_path: OwnPath | None, table_path: TablePath | None, timestep_at_1: float):
    """Swap ``model_sampling`` for one that noises per frame, in both places that samplers read, and put it back.

    A lasting object patch would be dropped silently by a ModelSamplingSD3 node behind it.
    """
    model, patches = guider.inner_model, guider.model_patcher.object_patches
    stock, patched = model.model_sampling, patches.get("model_sampling")
    model.model_sampling = patches["model_sampling"] = per_frame_sampling(stock, multipliers, own_path, table_path, timestep_at_1)
    try:
        yield
    finally:
        model.model_sampling = stock
        if patched is None:
            del patches["model_sampling"]
        else:
            patches["model_sampling"] = patched


def per_frame_sampling(stock, multipliers: Tensor, own_path: OwnPath | None, table_path: TablePath | None, timestep_at_1: float):
    """A ``model_sampling`` that shares the stock one's class, buffers and shift, and noises every frame to its level.

    Args:
        multipliers: m, [T]: the level is ``m_i sigma``, but that of a table for frames on its path.
        timestep_at_1: of the network; a ModelSampling node behind the condition may have set that of another family.
    """
    if not isinstance(stock, comfy.model_sampling.CONST):
        raise InputError(
            f"the model samples with {type(stock).__name__}, which is not flow matching. Remove the ModelSampling node "
            "that changed it, or use ModelSamplingSD3."
        )

    def levels_at(sigma: Tensor) -> Tensor:
        levels = frame_levels(sigma, multipliers)
        if table_path is not None:
            levels[:, :, table_path.frames] = per_frame(table_path.at(sigma).clamp_max(MOST)).to(levels)
        return levels

    class PerFrameSampling(type(stock)):
        def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
            levels = levels_at(sigma)
            x = levels * (getattr(self, "noise_scale", 1.0) * noise) + (1.0 - levels) * latent_image
            if own_path is not None:
                own_path.begin(self, x, noise, latent_image)
            if table_path is not None:
                table_path.begin(self, x, sigma, noise, latent_image)
            return x

        def timestep(self, sigma):
            return sigma * timestep_at_1

        def inverse_noise_scaling(self, sigma, latent):
            return latent / (1.0 - levels_at(sigma))

    sampling = PerFrameSampling.__new__(PerFrameSampling)
    sampling.__dict__.update(stock.__dict__)
    return sampling
