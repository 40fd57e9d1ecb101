"""A training run on what a graph holds: copies of its model, its clips and its prompts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
import torch

from ...nodes.shared.common import say, warner
from ...nodes.shared.model_files import NO_LORA, lora_path, widgets_named
from ...schedulers import InputError
from ...schedulers.grammar import shown

FOLDER = "pusa_training"  # in the output folder
RECENT = 50  # steps that the shown loss is the mean of
WORDS = {"(`resume` auto)": "(`resume`)", "give another folder": "give another `run_name`", "--init_lora": "`init_lora`"}
_NAME = re.compile(r"""(?![ .])[^<>:"|?*/\\\x00-\x1f\ud800-\udfff]{1,100}(?<![ .])""")


def run_folder(name: str) -> Path:
    """The folder of a run by its name.

    Raises:
        InputError: the name cannot be one of a folder.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f'`run_name` is `{shown(name)}`; give the name of a folder: at most 100 characters, none of < > : " / \\ | ? *, and no '
            "space or dot at its beginning or end."
        )
    return Path(folder_paths.get_output_directory()) / FOLDER / name


@contextmanager
def worded(folder: Path, name: str) -> Iterator[None]:
    """What the trainer says of its command line and folder, in the words of this node."""
    try:
        yield
    except InputError as error:
        text = str(error).replace(str(folder), f"output/{FOLDER}/{name}")
        for theirs, ours in WORDS.items():
            text = text.replace(theirs, ours)
        raise InputError(text) from error


def trained(
    cls, model, latents: list, positive: list, settings, rank: int, lora: str, folder: Path, resume: str | None
) -> tuple[dict, dict, int]:
    """Train on copies of what the graph holds; returns the LoRA, its losses and its steps."""
    from accelerate import PartialState

    from ...pusa_model.families.lookup import check_model, of_model
    from ..checks import check_data
    from ..keeping.checkpoint import check_same_run, find_checkpoint, read_checkpoint
    from ..keeping.room import check_room, probe
    from ..loop import train
    from ..method.lora import add_lora, lora_tensors
    from ..method.start import read_lora
    from .copied import copied, weights_hash
    from .given import dataset_of

    device = comfy.model_management.get_torch_device()
    state = PartialState(cpu=device.type == "cpu")  # sets the device before the trainer asks for it
    if state.device.type != device.type:
        raise InputError(f"something in this server trains on {state.device.type}, but ComfyUI runs on {device.type}.")
    check_model(model)
    family = of_model(model)
    if family.encoder:
        raise InputError(
            f"`model` is {family.name}, whose clips are encoded by the causal encoder of `python -m training.encode`, not by VAE "
            "Encode. Train it by the command line."
        )
    dataset = dataset_of(latents, positive, family)
    path = None
    if lora != NO_LORA:
        with widgets_named(lora_name="init_lora"):
            path = lora_path(lora)
    start = find_checkpoint(folder, resume)
    if start is not None:
        check_same_run(start, read_checkpoint(start, mapped=True), settings, {"init_lora": lora}, dataset)
    probe(folder)
    comfy.model_management.unload_all_models()
    network = copied(model)
    check_data(dataset, network)
    about = {"weights": weights_hash(network), "init_lora": lora}
    begun = read_lora(path, network, warner(cls)) if path else None
    rank = max(pair.a.shape[0] for pair in begun.values()) if begun else rank
    add_lora(network, rank, seed=settings.seed, start=begun)
    check_room(folder, sum(each.numel() for each in network.parameters() if each.requires_grad), settings, 0)
    bar, losses = comfy.utils.ProgressBar(settings.steps), []

    def note(step: int, loss: float, rate: float, validation: dict | None) -> bool:
        if comfy.model_management.processing_interrupted():
            return True
        losses.append(loss)
        recent = losses[-RECENT:]
        say(cls, f"step {step} of {settings.steps}, loss {sum(recent) / len(recent):.4f}")
        bar.update_absolute(step, settings.steps)
        return False

    result = train(network, dataset, settings, folder, resume, about | {"rank": rank}, on_step=note)
    comfy.model_management.throw_exception_if_processing_interrupted()
    if not losses:
        say(cls, f"This run has {result.step} steps already. A larger `steps` makes it longer; another `run_name` is a new one.")
    made = {name: tensor.to("cpu", torch.bfloat16) for name, tensor in lora_tensors(network).items()}
    return made, {"loss": result.losses}, result.step
