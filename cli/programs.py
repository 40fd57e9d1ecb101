"""Tasks that make no video: `merge` and `train`, with the flags that people have in their notes."""

import sys
from collections.abc import Callable

from hosting.process import pack_module

from . import merge as merging
from .flags.official import NEEDLESS, SWITCHES, needless

MERGE = {"--base_model": "BASE", "--output_path": "OUTPUT", "--lora_path": "--lora"}
TRAIN = {
    "--base_model": "--model", "--data_root": "STORE", "--lr": "--learning_rate", "--max_steps": "--steps",
    "--output_dir": "--output",
}  # fmt: skip


def renamed(arguments: list, names: dict) -> list:
    """A command line with other names of flags; what stands behind a flag that became a word in capitals is put in front.

    Flags that mean nothing here are told and left out.
    """
    placed, words, rest = {}, [], list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag[2:] in NEEDLESS and flag.startswith("--"):
            if rest and not equals and flag[2:] not in SWITCHES:
                rest.pop(0)
            print(*needless({flag[2:]: True}), file=sys.stderr)
        elif names.get(flag, "-").startswith("-"):
            words.append(names.get(flag, flag) + equals + value)
        else:
            placed[names[flag]] = value if equals else rest.pop(0) if rest else ""
    return [placed[name] for name in names.values() if name in placed] + words


def program(module: str, names: dict, parser: Callable, run: Callable) -> Callable:
    """A function that runs a command line in other names; with --dry_run it prints what it would run."""

    def main(arguments: list) -> int:
        words = renamed([word for word in arguments if word != "--dry_run"], names)
        if "--dry_run" not in arguments:
            return run(words)
        parser().parse_args(words)
        print("python -m", module, *words)
        return 0

    return main


PROGRAMS = {
    "merge": program("cli.merge", MERGE, merging.parser, merging.main),
    "train": program(
        "training.train", TRAIN, lambda: pack_module("training.options").parser(),
        lambda words: pack_module("training.train").main(words),
    ),
}  # fmt: skip
