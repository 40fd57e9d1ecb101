"""Flags of the official V0.5 scripts that say in their way what flags of our own say too."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

MULTI_COND = '{"0": ["first.png", 0.3], "20": ["then.png", 0.7]}'
FILES = {"image_dir": "image_paths", "video_dir": "video_paths"}


def multi_cond(text: str) -> list:
    """Pictures on the timeline from JSON as MULTI_COND, or from a file of it: [(picture, latent frame, noise), ...]."""
    try:
        source = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
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
    if not Path(picture).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {picture}")
    return Path(picture), position, float(noise)


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

    for flag, own in FILES.items():
        if path := flags.get(flag):
            alone(flag, own, "inputs")
            flags.update({"inputs": path} if path.is_dir() else {own: [path]})
    if entries := flags.get("multi_cond"):
        own = ("image_paths", "cond_position", "noise_multipliers")
        alone("multi_cond", *own, "inputs")
        flags.update(zip(own, map(list, zip(*entries))))
    clips = [flags.get("video_start_dir"), flags.get("video_end_dir")]
    if any(clips):
        alone("video_start_dir" if clips[0] else "video_end_dir", "video_paths", "inputs")
        if not all(clips):
            refuse("--video_start_dir and --video_end_dir go together; for a loop of one clip give --video_path")
        flags["video_paths"] = clips
    start, end = flags.get("cond_position_start"), flags.get("cond_position_end")
    if start or end:
        alone("cond_position_start" if start else "cond_position_end", "overlap")
        flags["cond_position"] = both_ends(start, end, flags["noise_multipliers"], refuse)
    if flags.get("prompt_dir") and not flags.get("inputs"):
        refuse("--prompt_dir has the prompts of a folder of inputs; give --inputs too")


def both_ends(start: list | None, end: list | None, noise: list | None, refuse: Callable[[str], None]) -> list:
    """The latent frames that a transition is given at its start. At its end there is one less: a first frame primes the VAE."""
    count = max(len(start or ()) - 1, len(end or ()), 1)
    right = [*range(count + 1)], [*range(-count, 0)]
    asked = start or right[0], [-1 if place == "last" else place for place in end or right[1]]
    if asked != right:
        written = (",".join(map(str, places)) for places in (*asked, *right))
        refuse(
            "--cond_position_start {} and --cond_position_end {}: a transition is given as many frames of either clip, which are "
            "one latent frame more at the start; write {} and {}".format(*written)
        )
    if noise and len(noise) not in (1, count + 1):
        refuse(
            f"--noise_multipliers has {len(noise)} values; with {count + 1} latent frames at the start and {count} at the end it "
            f"takes one for all, or {count + 1}, from the outer frame to the one next to the new frames, for either end"
        )
    return right[0]
