"""Stage 2: train a LoRA, or the whole network, on encoded clips.

python -m training.train STORE --model WAN_FILE --output FOLDER
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from hosting.process import pack_module  # imports this module again, as a part of the pack, where the relative imports work

    sys.exit(pack_module("training.train").main(sys.argv[1:]))

import argparse
import os
import sys
from pathlib import Path

from ..hosting.process import has_gpu, start_comfyui
from ..schedulers import InputError
from .options import DTYPES, parser, settings_of


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit code: 0, 1 for input that cannot be used, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        settings = settings_of(arguments)
        if arguments.cpu:
            os.environ["ACCELERATE_USE_CPU"] = "true"
        start_comfyui(arguments.cpu or not has_gpu())
        result = run(arguments, settings)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped at once; the last checkpoint is what is left.", file=sys.stderr)
        return 130
    if result.interrupted:
        print(f"Interrupted after step {result.step}, which is saved. Go on with --resume auto.", file=sys.stderr)
        return 130
    return 0


def run(arguments: argparse.Namespace, settings):
    """Load, train and save; returns the ``Result``."""
    from accelerate import PartialState

    from .data.encoded import EncodedDataset
    from .loop import train
    from .method.lora import add_lora
    from .method.network import load_base
    from .output import save_trained

    state = PartialState(cpu=arguments.cpu)  # sets the device of this process, before ComfyUI asks for it
    lora = arguments.train_architecture == "lora"
    folder = Path(arguments.output)
    dataset = EncodedDataset(arguments.store, arguments.preload)
    check_expert(arguments.expert, arguments.model)
    base = load_base(arguments.model, full=not lora)
    check_data(dataset, base.network)
    about = {"base": base.path.name, "base_sha256": base_hash(base.path), "train_architecture": arguments.train_architecture}
    if lora:
        targets = [target.strip() for target in arguments.targets.split(",")]
        add_lora(base.network, arguments.rank, arguments.alpha, targets, settings.seed)
        about |= {"rank": arguments.rank, "alpha": arguments.alpha or arguments.rank, "targets": targets}

    def save(network, result) -> None:
        kind = f"rank{arguments.rank}" if lora else "full"
        path = folder / f"pusa_{base.path.stem}_{kind}_step{result.step:05}.safetensors"
        record = about | {"steps": result.step, "dataset_hash": dataset.hash, "settings": settings.as_dict()}
        save_trained(path, base, record | {"processes": state.num_processes}, DTYPES[arguments.save_dtype], lora)

    try:
        return train(base.network, dataset, settings, folder, arguments.resume, about, on_save=save)
    finally:
        state.destroy_process_group()  # a process that ends with its threads alive is aborted now and then


def check_expert(expert: str | None, model: str) -> None:
    """Refuse the file of one expert of Wan2.2 with the levels of the other, as far as its name tells.

    Raises:
        InputError: the name says high and ``expert`` low, or the other way round.
    """
    from ..pusa_model.lora.provenance import expert_of

    if expert and expert_of(model) not in (None, expert):
        raise InputError(f"--expert is {expert}, but {Path(model).name} is the {expert_of(model)}-noise expert of Wan2.2.")


def check_data(dataset, network) -> None:
    """Refuse clips that a network cannot take.

    Raises:
        InputError: the latents have other channels, or the embeddings another width.
    """
    channels, width = network.patch_embedding.weight.shape[1], network.text_embedding[0].in_features
    found, context = dataset.shapes[0][0], dataset[0][1].shape[-1]
    if (found, context) != (channels, width):
        raise InputError(
            f"the clips have {found} channels and embeddings of width {context}; the model takes {channels} and {width}. "
            "Encode them with the VAE and the text encoder of this model."
        )


def base_hash(path: Path) -> str:
    """SHA-256 of the base's file, computed by one process for all."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    from ..pusa_model.lora.merged import sha256

    found = [sha256(path) if PartialState().is_main_process else ""]
    return broadcast_object_list(found)[0] if PartialState().num_processes > 1 else found[0]
