"""Which models can take one timestep per latent frame, and the words for those that cannot."""

from __future__ import annotations

from pathlib import Path

import comfy.ldm.wan.model
import comfy.model_sampling

from ..schedulers import InputError
from .on_model import has_unknown_loras, pusa_lora_on
from .provenance import applied_loras, expert_of, model_file

FEW_STEPS = 8
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
    kind = network_class(model, network)
    if not issubclass(kind, comfy.ldm.wan.model.WanModel):
        return f"not a Wan model ({type(model.model).__name__})"
    if kind is not comfy.ldm.wan.model.WanModel:
        return OTHER_WAN_MODELS.get(kind.__name__, f"a special Wan model ({kind.__name__})")
    channels = network.patch_embedding.weight.shape[1]
    if channels != network.out_dim:
        return f"a Wan image-to-video or control model ({channels} input channels; text-to-video has {network.out_dim})"
    return None


def network_class(model, network) -> type:
    """The class of a MODEL's network as it will be sampled.

    Packs change the class of the one network that all clones share, by an object patch on a clone. It is in force while that clone
    is loaded, so the live network may wear the class of another clone.
    """
    if network is model.model.diffusion_model:
        return model.get_model_object("diffusion_model.__class__")
    return type(network)


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
    """Refuse two experts that cannot share one run, or are not two.

    Raises:
        InputError: the networks differ in size, are one and the same, or are exchanged as far as their file names tell.
    """
    for name in ("dim", "num_layers", "out_dim"):
        sizes = [getattr(each.get_model_object("diffusion_model"), name) for each in (high, low)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"`model` and `model_low` are not a pair: their networks differ ({name} {sizes[0]} and {sizes[1]}). "
                "Load the high-noise and the low-noise file of the same Wan2.2 model."
            )
    files = [model_file(each) for each in (high, low)]
    if high.model is low.model or (files[0] and files[0] == files[1]):
        raise InputError(
            "`model` and `model_low` are the same model. Load the high-noise file for `model` and the low-noise file for "
            "`model_low`; for Wan2.1 leave `model_low` empty."
        )
    if (expert_of(files[0]), expert_of(files[1])) == ("low", "high"):
        raise InputError(
            f"`model` and `model_low` are exchanged: `model` is {Path(files[0]).name}, `model_low` is {Path(files[1]).name}."
        )


def advice(model, cfg: float, steps: int, conditioned: bool) -> list[str]:
    """What is probably not meant about a run, in words; empty if nothing is.

    Args:
        model: one of the models of the run.
        cfg: its guidance.
        steps: steps of the whole run.
        conditioned: whether the run has condition frames.
    """
    found, distilled = [], [lora.name for lora in applied_loras(model) if lora.distilled]
    if conditioned and not pusa_lora_on(model):
        others = ", ".join(distilled) or ("LoRAs of another kind" if has_unknown_loras(model) else "")
        there = f"No Pusa LoRA is on the model, only {others}" if others else "No LoRA is on the model"
        found.append(f"{there}. Without the Pusa LoRA the video follows the prompt and ignores the given frames.")
    if distilled and cfg != 1:
        found.append(f"cfg is {cfg:g} with the distillation LoRA {distilled[0]}, which is made for exactly 1.")
    if steps < FEW_STEPS and not distilled and applied_loras(model) and not has_unknown_loras(model):
        found.append(
            f"{steps} steps without a distillation LoRA are few; the Pusa authors use 10 to 30 (their VBench-I2V total is 79.9 at "
            "2 steps, 86.0 at 5 and 87.7 at 10)."
        )
    return found
