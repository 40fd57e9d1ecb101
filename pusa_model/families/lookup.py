"""Which family a MODEL, a VAE or a latent is of."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.ldm.wan.model
import comfy.model_sampling
import comfy.sample
from torch import Tensor

from ...schedulers import InputError, pixel_length
from .foreign import other_latent, other_vae
from .fps import ATTACHMENT
from .networks import MADE_FOR, Network
from .table import FAMILIES, SKYREELS, WAN, Family

EMPTY_LATENT_SCALE = ("downscale_ratio_spacial", "downscale_ratio_temporal")  # by which ComfyUI's empty latents tell their VAE's
WANTED = (
    "Use a Wan text-to-video model: Wan2.1-T2V-14B, the Wan2.2-T2V-A14B high and low noise models, Wan2.2 TI2V 5B, SkyReels-V2 DF, "
    "one of the control models that the README lists, or Pusa V0.5 (Mochi 1)."
)


def model_file(model) -> str | None:
    """Path of the file a MODEL was loaded from, as ComfyUI's loader remembers it; None where it does not."""
    loader = getattr(model, "cached_patcher_init", None)
    path = loader[1][0] if loader and loader[1] else None
    return path if isinstance(path, str) else None


def network_of(model):
    """The network of a MODEL, out of what torch.compile makes of it."""
    network = model.get_model_object("diffusion_model")
    return getattr(network, "_orig_mod", network)


def network_class(model) -> type:
    """The class of a MODEL's network as it will be sampled.

    Packs change the class of the one network that all clones share, by an object patch on a clone. It is in force while that clone
    is loaded, so the live network may wear the class of another clone.
    """
    network = network_of(model)
    if network is model.model.diffusion_model:
        return model.get_model_object("diffusion_model.__class__")
    return type(network)


def latent_channels(network) -> int | None:
    """Channels of what a network makes."""
    return getattr(network, "out_dim", getattr(network, "out_channels", None))


def text_width(network) -> int:
    """Width of the features of a prompt that a network takes."""
    return network.text_dim if hasattr(network, "text_dim") else network.t5_feat_dim


def of_model(model) -> Family | None:
    """The family of a MODEL, at the frame rate that it was told; None of one that is in no record."""
    kind, network = network_class(model), network_of(model)
    words = re.split("[^a-z0-9]+", Path(model_file(model) or "").stem.lower())
    told = model.get_attachment(ATTACHMENT)
    if not kind.__module__.startswith("comfy."):  # a class of another pack, whatever it is called
        return None
    for family in FAMILIES:
        if kind.__name__ not in family.networks or latent_channels(network) != family.channels:
            continue
        if family is SKYREELS and told is not None:
            return replace(family, rate=Fraction(told))
        if not family.marks or all(any(word.startswith(mark) for word in words) for mark in family.marks):
            return family
    return None


def of_network(network) -> Family:
    """The family of a network by itself, whatever a program has wrapped its class in; Wan where no record has it.

    Families that the name of a file alone tells apart are one here.
    """
    kinds = {kind.__name__ for kind in type(network).__mro__}
    for family in FAMILIES:
        if not family.marks and kinds & family.networks.keys() and latent_channels(network) == family.channels:
            return family
    return WAN


def network_record(model) -> Network:
    """How a vector of timesteps reaches the network of a MODEL that ``check_model`` takes."""
    record, network = of_model(model).networks[network_class(model).__name__], network_of(model)
    if record.own_forward is not None or record.remark is not None or record.one_number:
        return record
    channels = network.patch_embedding.weight.shape[1]
    if channels != network.out_dim:
        words = f"a Wan image-to-video or control model ({channels} input channels)"
        return replace(record, words=words, remark=f"it has given pictures of its own, and {MADE_FOR}")
    return record


def check_model(model, name: str = "model") -> Family:
    """The family of a MODEL that takes one timestep per latent frame.

    Raises:
        InputError: it takes none, or samples with something else than flow matching; names what it is and what to use instead.
    """
    family, found = of_model(model), _refused(model)
    if found is not None:
        raise InputError(f"`{name}` is {found}. It cannot take one timestep per latent frame. {WANTED}")
    sampling = model.get_model_object("model_sampling")
    from_image = getattr(comfy.model_sampling, "IMG_TO_IMG_FLOW", ())
    if not isinstance(sampling, comfy.model_sampling.CONST) or isinstance(sampling, from_image):
        raise InputError(f"`{name}` is set to sample with {type(sampling).__name__}, which is not flow matching from noise.")
    return family


def _refused(model) -> str | None:
    """What a MODEL is, in words, and why it takes no vector of timesteps; None where it takes one."""
    family, kind = of_model(model), network_class(model)
    if family is None and not issubclass(kind, comfy.ldm.wan.model.WanModel):
        return f"not a Wan model ({type(model.model).__name__})"
    if family is None:
        return f"a special Wan model ({kind.__name__}, {latent_channels(network_of(model))} latent channels) that is not known here"
    record = family.networks[kind.__name__]
    return f"{record.words}: {record.refused}" if record.refused is not None else None


def of_vae(vae) -> Family | None:
    """The family whose latents a VAE makes, by their channels and geometry; None of others.

    Families with one VAE have one geometry, so the record of either says all that there is to ask.
    """
    if other_vae(vae) is not None or getattr(vae, "latent_dim", 2) != 3:
        return None
    about = (vae.latent_channels, vae.spacial_compression_encode())
    return next((family for family in reversed(FAMILIES) if (family.channels, family.ratio) == about), None)


def check_vae(vae, family: Family) -> None:
    """Refuse a VAE that is not that of the model beside it, or of which a part is missing.

    Raises:
        InputError: names both families, or the part.
    """
    own = of_vae(vae)
    if own is None or (own.channels, own.ratio) != (family.channels, family.ratio):
        stranger = other_vae(vae) or (own.name if own is not None else f"a model with latents of {vae.latent_channels} channels")
        raise InputError(f"the VAE is that of {stranger}, the model is {family.name}. Use {family.vae}.")
    if family.whole is not None:
        family.whole(vae)


def of_channels(channels: int) -> Family | None:
    """The family whose latents have so many channels."""
    return next((family for family in reversed(FAMILIES) if family.channels == channels), None)


def of_empty(node: str) -> Family:
    """The family whose empty latents a node of ComfyUI makes, by its class; Wan where it makes those of none."""
    return next((family for family in FAMILIES if family.empty == node and not family.marks), WAN)


def of_latent(latent: Tensor) -> Family | None:
    """The family that makes latents [B, C, T, h, w] with these channels."""
    return of_channels(latent.shape[1]) if latent.ndim == 5 else None


def whose_latent(latent: Tensor) -> str | None:
    """The family that makes latents with these axes and channels, in words; None where no table says."""
    family = of_latent(latent)
    return family.name if family is not None else other_latent(latent)


def target_latent(family: Family | None, latent: dict[str, Any]) -> Tensor:
    """Samples [B, C, T, h, w] of the target of a condition: an empty one as the sampler will understand it.

    Args:
        family: of the VAE or of the frames that the condition is made from; None leaves the latent as it is.
    """
    samples = latent["samples"]
    understood = family is None or samples.ndim != 5 or not samples.numel() or bool(samples.any())
    return samples if understood else video_latent(family, latent)


def video_latent(format_of: Any, latent: dict[str, Any]) -> Tensor:
    """Samples [B, C, T, h, w] of a LATENT dict, an empty one brought to channels and size of a latent format as KSampler does.

    Args:
        format_of: a MODEL, or a Family.

    Raises:
        InputError: the latent is not empty and of another family.
    """
    if isinstance(format_of, Family):
        asked, wanted = SimpleNamespace(get_model_object=lambda name: format_of.latent_format()), format_of.channels
    else:
        asked, wanted = format_of, format_of.get_model_object("latent_format").latent_channels
    scale = {key: latent[key] for key in EMPTY_LATENT_SCALE if key in latent}
    samples = comfy.sample.fix_empty_latent_channels(asked, latent["samples"], **scale)
    found = whose_latent(samples)
    if samples.ndim == 5 and samples.shape[1] != wanted and found is not None:
        own = of_channels(wanted)
        raise InputError(
            f"`latent` has {samples.shape[1]} channels, as those of {found} have; the model is {own or 'of another family'}. "
            "Encode it with the VAE of the model, or use an empty latent."
        )
    return samples


def counted_otherwise(family: Family, latent: dict[str, Any]) -> str | None:
    """What to say of an empty latent whose length was counted by the frames of another family; None where it was not."""
    samples = latent["samples"]
    own = of_latent(samples)
    if own is None or own.factor == family.factor or samples.any():
        return None
    frames = pixel_length(samples.shape[2], family.factor)
    return (
        f"The empty latent counts {own.factor} video frames to a latent frame, as {own.name} has it, the model {family.factor}: "
        f"its {samples.shape[2]} latent frames make {frames} video frames here, not {pixel_length(samples.shape[2], own.factor)}. "
        f"Use {family.empty} for an exact length."
    )
