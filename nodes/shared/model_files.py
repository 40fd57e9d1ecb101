"""A model file and its LoRA files as nodes name them: found, read, put together, and known again when they were replaced."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import comfy.model_management
import folder_paths
import nodes as core_nodes

from ...pusa_model.families.fps import RATES, fps_weights, with_fps
from ...pusa_model.families.lookup import check_model, model_file, of_model
from ...pusa_model.lora.load import load_lora
from ...schedulers import InputError

NO_LORA = "none"


def lora_path(name: str) -> str:
    """Path of a file in models/loras; a name that leads elsewhere is none."""
    path = folder_paths.get_full_path("loras", name)
    if path is None:
        raise InputError(
            f"`lora_name`: there is no file {name[:100]!r} in models/loras. Put the file there, press R to read the folder again, "
            "and choose it from the list."
        )
    return path


def file_state(folder: str, name: str | None) -> str | None:
    """Size and time of a file in one of ComfyUI's folders; None if there is none, or the name is not known yet."""
    path = folder_paths.get_full_path(folder, name) if name else None
    about = os.stat(path) if path else None
    return about and f"{about.st_size} {about.st_mtime_ns}"


def file_states(**widgets: Any) -> list[str | None]:
    """The state of every file that these widgets name."""
    folders = {"unet_name": "diffusion_models", "lora_name": "loras", "distill_lora_name": "loras"}
    return [file_state(folder, value) for id, value in widgets.items() if (folder := folders.get(re.sub("_(high|low)$", "", id)))]


@contextmanager
def widgets_named(**names: str) -> Iterator[None]:
    """Errors in the names that widgets have on this node: what a function calls `strength` is `strength_low` on another."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub("`(\\w+)`", lambda name: f"`{names.get(name[1], name[1])}`", str(error))) from error


def read_model(unet_name: str, weight_dtype: str):
    """The MODEL of a file, as Load Diffusion Model reads it.

    Raises:
        InputError: it is damaged, or no diffusion model that ComfyUI knows.
    """
    try:
        return core_nodes.UNETLoader().load_unet(unet_name, weight_dtype)[0]
    except (MemoryError, comfy.model_management.OOM_EXCEPTION, comfy.model_management.InterruptProcessingException):
        raise
    except Exception as error:  # every format has its own exceptions, and their texts hold the server's paths
        raise InputError(
            f"`unet_name`: {unet_name[:100]} cannot be loaded as a diffusion model. It is damaged, incomplete, or of a kind that "
            "ComfyUI does not know; the log says which. Download it again, or choose another file."
        ) from error


class Files(NamedTuple):
    """The files of one model as they are chosen on a node, with the strengths of the LoRAs."""

    unet_name: str
    weight_dtype: str
    lora_name: str
    strength: float
    distill_lora_name: str
    distill_strength: float
    fps: int = RATES[0]


def load(
    files: Files,
    warn: Callable[[str], None],
    suffix: str = "",
    keep: Callable = lambda name, key, make: make(),
    tell: Callable[[str], None] = lambda text: None,
):
    """A diffusion model file with its Pusa LoRA and, unless it is none, a distillation LoRA.

    Args:
        suffix: of the widgets that these files were chosen in.
        tell: told the recommended settings of the model's family where there is nothing to warn of.
        keep: called with a name, a key and a function; returns what it kept by that key, else what the function makes.
    """
    base = files[:2], *file_states(unet_name=files.unet_name)
    whole = files, *file_states(**files._asdict())

    def patched():
        said: list[str] = []
        with widgets_named(model=f"unet_name{suffix}", unet_name=f"unet_name{suffix}"):
            model = keep(f"file{suffix}", base, lambda: read_model(*files[:2]))
            told = keep(f"fps{suffix}", base, lambda: fps_weights(model_file(model) or ""))
            model = model if told is None else with_fps(model, told, files.fps)
            check_model(model)
        for kind, name, strength in (("", *files[2:4]), ("distill_", *files[4:6])):
            if name != NO_LORA:
                with widgets_named(lora_name=f"{kind}lora_name{suffix}", strength=f"{kind}strength{suffix}"):
                    model = load_lora(model, lora_path(name), strength, said.append)
        return model, said

    model, said = keep(f"model{suffix}", whole, patched)
    for text in said:
        warn(text)
    if not said:
        tell(of_model(model).settings)
    return model
