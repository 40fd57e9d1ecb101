"""What is looked at before a run begins, the cheap things before anything is loaded."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState

from ..pusa_model.families.lookup import latent_channels, text_width
from ..pusa_model.families.table import WAN
from ..schedulers import InputError
from .data.encoded import EncodedDataset
from .data.joined import held_out, joined
from .keeping.checkpoint import check_same_run, find_checkpoint, read_checkpoint
from .keeping.room import check_room, check_shared, probe
from .memory.budget import advice, chosen, fitted, need, tokens
from .memory.optimizers import check_optimizer
from .memory.outline import Outline, outline
from .memory.placing import check_blocks
from .memory.quantised import FILE, check_base_dtype, rounding
from .options import DTYPES, LORA_DEFAULTS, memory_of, repeats_of, stores_of, targets_of
from .processes.sharded import is_spread
from .settings import Settings, check_family
from .watch.trackers import check_trackers

LEAST_FACTOR = 0.1  # alpha / rank below which a LoRA hardly learns


def check_options(arguments: Namespace, settings: Settings, say: Callable[[str], None]) -> None:
    """Refuse the file of one expert with the levels of the other; tell of options without an effect and of odd ones.

    Raises:
        InputError: the model's name says high and --expert low, or the other way round; an option has no effect beside
            another; or the optimiser or a tracker cannot be had.
    """
    from ..pusa_model.lora.provenance import expert_of

    expert, model = arguments.expert, Path(arguments.model).name
    if expert and expert_of(arguments.model) not in (None, expert):
        raise InputError(f"--expert is {expert}, but {model} is the {expert_of(arguments.model)}-noise expert of Wan2.2.")
    if expert and expert_of(arguments.model) is None:
        say(
            f"Warning: --expert {expert} trains on the levels of one expert of Wan2.2, but nothing in the name {model} says that "
            "it is one. For Wan2.1 leave --expert out."
        )
    given = [name for name, default in LORA_DEFAULTS.items() if getattr(arguments, name) != default]
    if arguments.train_architecture == "full" and given:
        raise InputError(
            f"--{' and --'.join(given)} belong to a LoRA and have no effect with --train_architecture full; leave them out."
        )
    if arguments.train_architecture == "full" and settings.base_dtype != FILE:
        raise InputError(f"--base_dtype {settings.base_dtype} is for a LoRA; with --train_architecture full leave it out.")
    check_optimizer(settings.optimizer)
    if arguments.log_with:
        check_trackers(arguments.log_with)
    if settings.timesteps == "scalar" and settings.p_async != 1:
        raise InputError("--p_async has no effect with --timesteps scalar, where the frames of a clip share a level; leave it out.")
    if settings.sigma_range == "frame" and settings.timesteps == "scalar":
        say("Warning: --sigma_range frame has no effect with --timesteps scalar, where all frames of a clip share their level.")


def data_of(arguments: Namespace):
    """The clips to train on, and those to validate on (None if there are none).

    Raises:
        InputError: a store cannot be read or is given twice, or --validate is neither a share nor a store of other clips.
    """
    stores = [EncodedDataset(store, arguments.preload) for store in stores_of(arguments)]
    hashes = [store.hash for store in stores]
    twice = [store.folder for number, store in enumerate(stores) if store.hash in hashes[:number]]
    if twice:
        raise InputError(f"STORE {twice[0]} is given twice, or has the clips of another one; --repeats shows clips more often.")
    dataset = joined(stores, repeats_of(arguments))
    if arguments.validate is None:
        return dataset, None
    try:
        share = float(arguments.validate)
    except ValueError:
        share = None
    if share is None:
        validation = EncodedDataset(arguments.validate)
        validation.check_files()
        if validation.hash in hashes:
            raise InputError("`validate` names the clips that are trained on; give others, or a share such as 0.1.")
        return dataset, validation
    if not 0 < share < 1:
        raise InputError(f"`validate` is {arguments.validate}; give a store, or a share of the clips above 0 and below 1.")
    return held_out(dataset, share)


def origin(arguments: Namespace, say: Callable[[str], None]) -> tuple[dict, int | None]:
    """What tells the network of a run from others, without the hashes; and how many numbers a LoRA to begin from has.

    Raises:
        InputError: --rank or --targets differ from the LoRA that is begun from, or it cannot be read.
    """
    about = {"base": Path(arguments.model).name, "train_architecture": arguments.train_architecture}
    about |= {name: Path(path).name for name in ("init", "init_lora") if (path := getattr(arguments, name))}
    if arguments.train_architecture == "full":
        return about, None
    found = outline(Path(arguments.model))
    targets = targets_of(arguments) or list((found.family if found else WAN).targets)
    rank, numbers = arguments.rank, None
    if arguments.init_lora:
        from .method.start import rank_in_file

        rank, numbers = rank_in_file(arguments.init_lora)
        if arguments.rank not in (LORA_DEFAULTS["rank"], rank):
            raise InputError(f"`rank` is {arguments.rank}, but {Path(arguments.init_lora).name} has rank {rank}; leave --rank out.")
        if arguments.targets != LORA_DEFAULTS["targets"]:
            raise InputError("--targets has no effect with --init_lora, whose file says which layers it changes; leave it out.")
        targets = ["as in the file"]
    if (arguments.alpha or rank) < LEAST_FACTOR * rank:
        say(
            f"Warning: --alpha {arguments.alpha:g} at rank {rank} multiplies the update by {arguments.alpha / rank:.2g}, so little "
            "is learned. The 1.7 of some guides is a strength for sampling, not for training: leave --alpha out."
        )
    return about | {"rank": rank, "alpha": arguments.alpha or rank, "targets": targets}, numbers


def check_start(
    arguments: Namespace, settings: Settings, about: dict, trained: int | None, dataset, say: Callable[[str], None]
) -> tuple[Settings, int]:
    """Refuse, before anything is loaded, what could not be saved or gone on with; tell what a run takes of disk and memory.

    Args:
        about, trained: what ``origin`` returned.

    Returns:
        The settings, with what --memory has chosen, and the step that a run goes on from.

    Raises:
        InputError: the folder holds a run and --resume is not given, is of another run, cannot be written to, is too small or,
            where weights are spread, not shared by all processes; a file is missing; or --memory is not enough.
    """
    folder, model, limit = Path(arguments.output), Path(arguments.model), memory_of(arguments)
    check_model_file(model)
    if arguments.init:
        check_model_file(Path(arguments.init), "init")
    dataset.check_files()
    start, done = find_checkpoint(folder, arguments.resume), 0
    if start is not None:
        content = read_checkpoint(start, mapped=True)
        if limit is not None and arguments.base_dtype is None:  # as --memory has chosen it before
            settings = replace(settings, base_dtype=content["settings"].get("base_dtype", FILE))
        check_same_run(start, content, settings, about, dataset)
        done = content["step"]
    found, full = outline(model), arguments.train_architecture == "full"
    if found is not None:
        check_family(settings, found.family)
        check_blocks(settings.blocks_on_cpu, found.blocks)
    if found is not None and settings.base_dtype != FILE and not found.quantisable:
        raise InputError(
            f"`base_dtype` is {settings.base_dtype}, but {model.name} is quantised already. Leave it out, or use the bf16 file."
        )
    if found is not None and trained is None and not full:
        check_targets(about["targets"], found)
        trained = found.lora(about["rank"], about["targets"])
    if found is not None and full:
        trained = found.numbers
    spread = is_spread(PartialState().num_processes)
    if limit is not None and spread:
        raise InputError("--memory counts the whole weights on each GPU, and FSDP spreads them; leave one of them out.")
    if limit is not None and arguments.cpu:
        raise InputError("--memory is of a GPU and has no effect with --cpu; leave one of them out.")
    known = found is not None and not found.family.own_forward
    if limit is not None and not known:
        raise InputError(
            f"`memory`: {model.name} is no .safetensors file of Wan, so what it takes is not known; leave --memory out."
        )
    if known and not spread and not arguments.cpu:
        count, before = tokens(dataset.shapes), settings
        free = arguments.base_dtype is None and start is None and not full and found.quantisable
        if limit:
            settings = fitted(limit, found, trained, count, before, full, free)
        say(f"GPU memory, computed: {need(found, trained, count, settings, full)}.")
        if limit:
            say(f"--memory {arguments.memory} takes {chosen(before, settings)}.")
        if limit and settings.base_dtype != before.base_dtype:
            say("Nothing that changes no number was enough. With --base_dtype file, --memory refuses instead.")
        elif limit and free and (spared := advice(limit, found, trained, count, before, settings)):
            say(spared)
    check_base_dtype(settings.base_dtype)
    if settings.base_dtype != FILE:
        say(rounding(settings.base_dtype))
    probe(folder)
    if spread:
        check_shared(folder)
    if trained is not None and done < settings.steps:
        say(check_room(folder, trained, settings, DTYPES[arguments.save_dtype].itemsize, done))
    return settings, done


def check_model_file(model: Path, option: str = "model") -> None:
    """Refuse a model, or a file to begin from, by its name.

    Raises:
        InputError: there is no such file, or it is GGUF.
    """
    if model.suffix.lower() == ".gguf":
        raise InputError(
            f"`{option}`: {model.name} is GGUF, which cannot be trained on; use the bf16 or fp8 file of the same model."
        )
    if not model.is_file():
        raise InputError(f"`{option}`: there is no file {model}.")


def check_targets(targets: Sequence[str], found: Outline) -> None:
    """Refuse names that no layer of the blocks has.

    Raises:
        InputError: says which there are.
    """
    for target in targets:
        if not found.lora(1, [target]):
            endings = ", ".join(sorted({name.split(".", 2)[2] for name in found.linear}))
            raise InputError(f"`targets`: {target} is no linear layer of the blocks, which have {endings}.")


def check_data(dataset, network) -> None:
    """Refuse clips that a network cannot take.

    Raises:
        InputError: the latents have other channels, or the embeddings another width.
    """
    channels, width = latent_channels(network), text_width(network)
    found, context = {shape[0] for shape in dataset.shapes}, dataset[0][1].shape[-1]
    if (found, context) != ({channels}, width):
        have = " and ".join(map(str, sorted(found)))
        raise InputError(
            f"the clips have {have} channels and embeddings of width {context}; the model takes {channels} and {width}. "
            "Encode them with the VAE and the text encoder of this model."
        )


def base_hash(path: Path) -> str:
    """SHA-256 of the base's file, computed by one process for all."""
    from accelerate.utils import broadcast_object_list

    from ..pusa_model.lora.merged import sha256

    found = [sha256(path) if PartialState().is_main_process else ""]
    return broadcast_object_list(found)[0] if PartialState().num_processes > 1 else found[0]
