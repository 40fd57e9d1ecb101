"""Model files of a graph: which input of which loader each flag chooses, by the names that the server lists."""

from pathlib import PurePosixPath, PureWindowsPath

from .filling import Filling
from .links import GraphError
from .settings import Settings

INPUTS = {
    "unet": "unet_name", "high_unet": "unet_name_high", "low_unet": "unet_name_low",
    "lora_path": "lora_name", "high_lora_path": "lora_name_high", "low_lora_path": "lora_name_low",
    "vae": "vae_name", "clip": "clip_name",
}  # fmt: skip
HERE = ("/", "./", "../", "~", ".\\", "..\\")  # of a path on this machine, whose last part is the name on the server


def fill_files(filling: Filling, settings: Settings) -> None:
    """Put the names of model files into the loaders.

    Raises:
        GraphError: names the flag, and what the graph has in its place.
    """
    for flag, name in INPUTS.items():
        if (value := getattr(settings, flag)) is None:
            continue
        users = [node["inputs"] for node in filling.graph.values() if isinstance(node["inputs"].get(name), str)]
        if len(users) != 1:
            others = sorted({other for other, each in INPUTS.items() for node in filling.graph.values() if each in node["inputs"]})
            right = f"it takes {', '.join(f'--{other}' for other in others)}" if others else "it has no loader of files"
            raise GraphError(f"--{flag}: {len(users) or 'no'} nodes of the graph have {name}, and one can be set; {right}")
        users[0][name] = server_name(value)


def server_name(path: str) -> str:
    """A file as the server lists it: of a path on this machine its last part, else what was given."""
    windows = PureWindowsPath(path)
    if path.startswith(HERE) or windows.drive:
        return windows.name if "\\" in path else PurePosixPath(path).name
    return path
