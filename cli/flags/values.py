"""What a flag may be: types for argparse, each with a sentence that says what is allowed."""

import argparse
import os
import shlex
import urllib.parse
from pathlib import Path

from ..storage import Remote, place

SERVER = "http://127.0.0.1:8188"
OF_A_WORKER = ("--port", "--base-directory", "--input-directory", "--output-directory", "--temp-directory")  # its own


def number(kind: type, least, most, step: int = 1):
    """A type for argparse: a number in a range; whole numbers may be bound to multiples of `step`."""
    rule = f" that is a multiple of {step}" if step > 1 else ""

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most or (step > 1 and value % step):
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} from {least} to {most}{rule}")
        return value

    return read


def positions(text: str) -> list:
    """Latent frames: integers and "last", separated by commas."""
    try:
        return [part if part == "last" else int(part) for part in listed(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of latent frames such as 0,10,20 or 0,last") from None


def noise(text: str) -> list:
    """Noise multipliers, separated by commas."""
    return [number(float, 0, 1)(part) for part in listed(text)]


def listed(text: str) -> list:
    """The parts of a list as 0,1,2 or, as the official V0.5 scripts take it, [0,1,2]."""
    text = text.strip()
    return [part.strip() for part in (text[1:-1] if text[:1] + text[-1:] == "[]" else text).split(",")]


def existing(text: str) -> Path:
    """A file of this machine."""
    if not os.path.isfile(text):  # a Path would raise where a text is too long for a name
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def video_file(text: str) -> Path:
    """Where a video goes."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is a URL; give --output_dir the one of its folder")
    if Path(text).suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .mp4; a folder is --output_dir")
    return Path(text)


def folder(text: str) -> Path:
    """A folder of this machine."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def file_or_folder(text: str) -> Path:
    """A file or folder of this machine."""
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"there is no file or folder {text}")
    return Path(text)


def output_folder(text: str) -> Path | Remote:
    """Where videos go: a folder, or a URL that fsspec knows."""
    try:
        return place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def cluster(text: str) -> str:
    """Where Ray is: auto, local, or the address of its head."""
    host, _, port = text.rpartition(":")
    if text in ("auto", "local") or (host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not auto, local or HOST:PORT as `ray start --head` prints it, as gpu1:6379")


def folder_of_workers(text: str) -> str:
    """A folder on the workers, which have other working directories than this command."""
    return os.path.abspath(text)


def python_of_workers(text: str) -> str:
    """A Python on the workers: a path, or a name that they look for themselves."""
    return os.path.abspath(text) if os.path.dirname(text) else text


def comfyui_flags(text: str) -> list:
    """Flags of ComfyUI, as a shell would split them."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be split into flags: {error}") from None
    for word in words:
        if word.partition("=")[0] in OF_A_WORKER:
            raise argparse.ArgumentTypeError(f"{word} cannot be given: each worker has its own port and folders")
    return words


def server(text: str) -> str:
    """The address of a server; http:// may be left out."""
    try:
        url = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as {SERVER}")
    return url.geturl().rstrip("/")
