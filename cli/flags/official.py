"""Flags of the official scripts that say in their way what flags of our own say too, or that mean nothing here."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

MULTI_COND = '{"0": ["first.png", 0.3], "20": ["then.png", 0.7]}'
FILES = {"image_dir": "image_paths", "video_dir": "video_paths"}
SAME = {  # other names of flags
    "--image_path": "--image_paths", "--image": "--image_paths", "--noise_multiplier": "--noise_multipliers",
    "--num_steps": "--num_inference_steps", "--steps": "--num_inference_steps",
}  # fmt: skip
_SERVER = "the server knows its own model folders"
_MEMORY = "ComfyUI moves models between the GPU and the memory by itself"
NEEDLESS = {
    "base_dir": f"{_SERVER}; --clip and --vae name files there",
    "model_dir": f"{_SERVER}; --unet, --clip and --vae name files there",
    "high_model_dir": f"{_SERVER}; --high_unet names a file there",
    "low_model_dir": f"{_SERVER}; --low_unet names a file there",
    "offload": _MEMORY,
    "cpu_offload": _MEMORY,
    "data_path": "the official script does not use it either",
}
SWITCHES = ("offload", "cpu_offload")  # those without a value
V05_MODEL = "pusa_v0_dit"
OF_V05 = (  # flags that no other scripts have
    "multi_cond", "image_dir", "video_dir", "video_start_dir", "video_end_dir", "cond_position_start", "cond_position_end",
)  # fmt: skip
OFFICIAL_EXTENSION, OFFICIAL_START, OFFICIAL_END = (0, 1, 2, 3), (0, 1, 2), (-3, -2, -1)


def multi_cond(text: str) -> list:
    """Pictures on the timeline from JSON as MULTI_COND, or from a file of it: [(picture, latent frame, noise), ...]."""
    try:
        source = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8-sig")
        entries = json.loads(source, object_pairs_hook=tuple)  # a latent frame that is there twice stays so
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON as {MULTI_COND}, nor a file of it: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON as {MULTI_COND}: {error}") from None
    if not isinstance(entries, tuple) or not entries:
        raise argparse.ArgumentTypeError(f"{text!r} names no picture; give JSON as {MULTI_COND}")
    return [condition(*entry) for entry in entries]


def condition(place: str, value) -> tuple:
    """One entry: (picture, latent frame, noise multiplier)."""
    try:
        position = place if place == "last" else int(place)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{place!r} is not a latent frame; give JSON as {MULTI_COND}") from None
    picture, noise = value if isinstance(value, list) and len(value) == 2 else (None, None)
    if not isinstance(picture, str) or isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise <= 1:
        raise argparse.ArgumentTypeError(
            f"latent frame {place} has {json.dumps(value)}; it takes a picture and a noise multiplier from 0 to 1, as {MULTI_COND}"
        )
    if not os.path.isfile(picture):
        raise argparse.ArgumentTypeError(f"there is no file {picture}")
    return Path(picture), position, float(noise)


def needless(flags: dict) -> list:
    """A line for each given flag that means nothing here."""
    return [f"--{flag} is not needed: {why}." for flag, why in NEEDLESS.items() if flags.get(flag) not in (None, False)]


def family(flags: dict) -> tuple:
    """The model that the flags of a command line are about, and a line where that is not said by a model file among them."""
    if flags.get("dit_path") or holds_v05(flags.get("model_dir")):
        return "mochi", ""
    if flags.get("high_lora_path") or flags.get("low_lora_path") or flags.get("high_model_dir") or flags.get("low_model_dir"):
        return "wan22", ""
    if flags.get("lora_path"):
        return "wan21", ""
    found = [flag for flag in OF_V05 if flags.get(flag)]
    if not found or flags["lightx2v"] or flags["graph"]:
        return "wan22", ""
    return "mochi", f"--{found[0]} is of the V0.5 scripts, so the model is Mochi 1 with Pusa V0.5; --model says otherwise."


def holds_v05(name: str | None) -> bool:
    """Whether a folder has the model of V0.5."""
    return bool(name) and (V05_MODEL in name or any(any(Path(name).glob(f"{at}{V05_MODEL}*")) for at in ("", "*/")))


def translate(given: argparse.Namespace, refuse: Callable[[str], None]) -> None:
    """Put what these flags say where our own flags put it.

    Args:
        given: a read command line; only the flags of its task are in it.
        refuse: takes a sentence, and does not return.
    """
    flags = vars(given)

    def alone(flag: str, *others: str) -> None:
        for other in others:
            if flags.get(other) is not None:
                refuse(f"--{flag} and --{other} cannot be given together")

    if flags["dit_path"]:
        alone("dit_path", "unet")
        given.unet = given.dit_path
    for flag, own in FILES.items():
        if path := flags.get(flag):
            alone(flag, own, "inputs")
            flags.update({"inputs": path} if path.is_dir() else {own: [path]})
    if entries := flags.get("multi_cond"):
        own = ("image_paths", "cond_position", "noise_multipliers")
        alone("multi_cond", *own, "inputs")
        flags.update(zip(own, map(list, zip(*entries))))
    pair(given, ("start_frame", "end_frame"), "image_paths", alone, refuse)
    if given.called == "extension" and not given.cond_position:
        given.cond_position = list(OFFICIAL_EXTENSION)
    if given.task == "transition":
        as_official_transition(given, alone, refuse)
    files = flags.get("image_paths") or flags.get("video_paths")
    if flags.get("prompt_dir") and not (flags.get("inputs") or files):
        refuse("--prompt_dir has the prompts of files of these names; give --inputs or a file too")


def pair(given: argparse.Namespace, names: tuple, own: str, alone: Callable, refuse: Callable) -> bool:
    """Put two flags, a file each, where one flag of our own puts both; whether they were given."""
    files = [vars(given).get(name) for name in names]
    if not any(files):
        return False
    alone(names[0] if files[0] else names[1], own, "inputs")
    if not all(files):
        refuse(f"--{names[0]} and --{names[1]} go together")
    vars(given)[own] = files
    return True


def as_official_transition(given: argparse.Namespace, alone: Callable, refuse: Callable) -> None:
    """Make a transition of the V0.5 scripts what it is here: a completion between two clips, of which the first halves count."""
    places = [name for name in ("cond_position_start", "cond_position_end") if vars(given)[name]]
    if not pair(given, ("video_start_dir", "video_end_dir"), "video_paths", alone, refuse):
        if places:
            refuse(f"--{places[0]} goes with --video_start_dir and --video_end_dir; otherwise give --overlap")
        return
    for flag in ("overlap", "new_frames"):
        alone("video_start_dir", flag)
    start, end = given.cond_position_start or OFFICIAL_START, given.cond_position_end or OFFICIAL_END
    given.cond_position = [*start, *end]
    given.task, given.halves = "completion", True
