"""Which models can take one timestep per latent frame, and the words for those that cannot."""

from __future__ import annotations

import comfy.ldm.wan.model
import comfy.model_sampling

from ..schedulers import InputError

WANTED = "Use a plain Wan text-to-video model: Wan2.1-T2V-14B, or the Wan2.2-T2V-A14B high and low noise models."

OTHER_WAN_MODELS = {
    "AnimateWanModel": "Wan2.2 Animate",
    "CameraWanModel": "Wan Camera Control",
    "CausalWanModel": "a causal autoregressive Wan",
    "HumoWanModel": "HuMo",
    "SCAILWanModel": "SCAIL",
    "SCAIL2WanModel": "SCAIL 2",
    "VaceWanModel": "Wan VACE",
    "WanDancerModel": "WanDancer",
    "WanModel_S2V": "Wan2.2 S2V (sound to video)",
}


def describe_model(model) -> str | None:
    """What a MODEL is, in words, if it cannot take a vector of timesteps; None if it can."""
    network = model.get_model_object("diffusion_model")
    network = getattr(network, "_orig_mod", network)  # torch.compile keeps the module it compiled here
    if not isinstance(network, comfy.ldm.wan.model.WanModel):
        return f"not a Wan model ({type(model.model).__name__})"
    if type(network) is not comfy.ldm.wan.model.WanModel:
        name = type(network).__name__
        return OTHER_WAN_MODELS.get(name, f"a special Wan model ({name})")
    channels = network.patch_embedding.weight.shape[1]
    if channels != network.out_dim:
        return f"a Wan image-to-video or control model ({channels} input channels; text-to-video has {network.out_dim})"
    return None


def check_model(model, name: str = "model") -> None:
    """Refuse a MODEL that is not a plain Wan text-to-video model with flow-matching sampling.

    Raises:
        InputError: names what the model is and what to use instead.
    """
    found = describe_model(model)
    if found is not None:
        raise InputError(f"`{name}` is {found}. It cannot take one timestep per latent frame. {WANTED}")
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, comfy.model_sampling.CONST):
        raise InputError(f"`{name}` is set to sample with {type(sampling).__name__}, which is not flow matching.")


def check_pair(high, low) -> None:
    """Refuse two experts that cannot share one run.

    Raises:
        InputError: the networks differ in size.
    """
    for name in ("dim", "num_layers", "out_dim"):
        sizes = [getattr(each.get_model_object("diffusion_model"), name) for each in (high, low)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"`model` and `model_low` are not a pair: their networks differ ({name} {sizes[0]} and {sizes[1]}). "
                "Load the high-noise and the low-noise file of the same Wan2.2 model."
            )
