"""Model files of a graph: which input of which loader each flag chooses, and what a name stands for on a server."""

from pathlib import PureWindowsPath

from .filling import Filling
from .links import GraphError
from .settings import Settings

INPUTS = {
    "unet": "unet_name", "high_unet": "unet_name_high", "low_unet": "unet_name_low",
    "lora_path": "lora_name", "high_lora_path": "lora_name_high", "low_lora_path": "lora_name_low",
    "vae": "vae_name", "clip": "clip_name", "distill_lora": "distill_lora_name",
    "high_distill_lora": "distill_lora_name_high", "low_distill_lora": "distill_lora_name_low",
}  # fmt: skip


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
        users[0][name] = base_name(value)
        filling.paths[base_name(value)] = value


def base_name(path: str) -> str:
    """The last part of a path, of either system."""
    return PureWindowsPath(path).name or path


def listed_as(name: str, listed: list) -> str | None:
    """The name among those that a server lists which a name stands for: itself, else by its last part, else without suffix.

    None where there is none, or more than one.
    """
    if name in listed:
        return name
    for part in (base_name, lambda path: PureWindowsPath(path).stem):
        found = [other for other in listed if part(other) == part(name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None
