"""What two experts must have in common, and what is probably not meant about a run."""

from __future__ import annotations

from pathlib import Path

from ..schedulers import InputError
from .families.lookup import model_file, network_record, of_model
from .lora.on_model import has_unknown_loras, pusa_lora_on
from .lora.provenance import applied_loras, expert_of

FEW_STEPS = 8


def check_pair(high, low) -> None:
    """Refuse two experts that cannot share one run, or are not two.

    Raises:
        InputError: the networks differ in size, are one and the same, or are exchanged as far as their file names tell.
    """
    for name in ("dim", "num_layers", "out_dim", "hidden_size_x"):
        sizes = [getattr(each.get_model_object("diffusion_model"), name, None) for each in (high, low)]
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


def remarks(model) -> list[str]:
    """What is probably not meant where a MODEL is given frames, whatever its settings; empty if nothing is."""
    network = network_record(model)
    return [f"The model is {network.words}; {network.remark}."] if network.remark is not None else []


def advice(model, cfg: float, steps: int, conditioned: bool) -> list[str]:
    """What is probably not meant about a run, in words; empty if nothing is.

    Args:
        model: one of the models of the run.
        cfg: its guidance.
        steps: steps of the whole run.
        conditioned: whether the run has condition frames.
    """
    found, distilled = [], [lora.name for lora in applied_loras(model) if lora.distilled]
    found += remarks(model) if conditioned else []
    if conditioned and of_model(model).needs_lora and not pusa_lora_on(model):
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
