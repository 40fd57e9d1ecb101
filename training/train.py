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
from .options import parser, settings_of

FILES = {"base": "model", "init": "init", "init_lora": "init_lora"}  # whose hashes are in the record, by their options


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit code: 0, 1 for input that cannot be used, 130 when interrupted."""
    arguments = parser().parse_intermixed_args(argv)
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
    """Check, load, train and save; returns the ``run.Result``."""
    from accelerate import PartialState
    from tqdm import tqdm

    from .checks import base_hash, check_data, check_options, check_start, data_of, origin
    from .loop import train
    from .method.network import load_base
    from .processes.sharded import check_launch, take_deepspeed
    from .run import Result
    from .watch.watcher import Watcher

    instead = take_deepspeed()
    check_launch(settings)
    state = PartialState(cpu=arguments.cpu)  # sets the device of this process, before ComfyUI asks for it
    say = print if state.is_main_process else lambda line: None
    lora = arguments.train_architecture == "lora"
    if instead:
        say(instead)
    check_options(arguments, settings, say)
    dataset, validation = data_of(arguments)
    about, trained = origin(arguments, say)
    settings, done = check_start(arguments, settings, about, trained, dataset, say)
    if done >= settings.steps:
        say(f"Finished already at step {done}; --steps is {settings.steps}. A larger number makes the run longer.")
        return Result(done)
    say(f"Loading {about['base']} ...")
    base = load_base(arguments.model, not lora, settings.base_dtype)
    for clips in filter(None, (dataset, validation)):
        check_data(clips, base.network)
    given = {name: getattr(arguments, option) for name, option in FILES.items() if getattr(arguments, option)}
    about |= {f"{name}_sha256": base_hash(Path(path)) for name, path in given.items()}
    begin(arguments, base.network, about, settings.seed, say)
    watcher = Watcher(arguments, base, about, dataset, validation, settings, state, tqdm.write if state.is_main_process else say)
    try:
        how = {"validate": watcher.validation, "on_step": watcher.step, "on_save": watcher.save}
        result = train(base.network, dataset, settings, arguments.output, arguments.resume, about, **how)
    finally:
        watcher.finish()
        state.destroy_process_group()  # a process that ends with its threads alive is aborted now and then
    return result


def begin(arguments: argparse.Namespace, network, about: dict, seed: int, say) -> None:
    """Give a network the weights and LoRA layers that the run begins with.

    Raises:
        InputError: a file to begin from cannot be read or does not fit.
    """
    from .method.lora import add_lora
    from .method.network import load_base
    from .method.start import build_in, read_lora, take_weights

    if arguments.train_architecture == "lora":
        start = read_lora(arguments.init_lora, network, say) if arguments.init_lora else None
        add_lora(network, about["rank"], about["alpha"], about["targets"], seed, start)
        if start:
            say(f"Begun from {Path(arguments.init_lora).name}: rank {about['rank']} on {len(start)} layers.")
        return
    if arguments.init:
        try:
            other = load_base(arguments.init, full=True).network
        except InputError as error:
            raise InputError(str(error).replace("`model`", "`init`")) from error
        take_weights(network, other, Path(arguments.init).name)
    if arguments.init_lora:
        say(f"{Path(arguments.init_lora).name} is built into {build_in(arguments.init_lora, network, say)} weights.")
