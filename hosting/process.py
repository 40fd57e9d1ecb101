"""ComfyUI and the pack inside this process, for the command lines that need them."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start_comfyui(cpu: bool = True) -> None:
    """Make ComfyUI importable; on the CPU, or on the device that it would choose itself."""
    path = os.environ.get("COMFYUI_PATH")
    if not path or not (Path(path) / "comfy").is_dir():
        raise SystemExit("Error: set COMFYUI_PATH to the folder that holds ComfyUI's main.py.")
    if path not in sys.path:
        sys.path.insert(0, path)
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = cpu


def has_gpu() -> bool:
    """Whether PyTorch finds a device that ComfyUI would run on instead of the CPU."""
    import torch

    xpu = getattr(torch, "xpu", None)
    return torch.cuda.is_available() or torch.backends.mps.is_available() or bool(xpu and xpu.is_available())


def load_pack(name: str = "pusa") -> str:
    """Import the repository as a package, as ComfyUI does, whatever its folder is called."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return name


def pack_module(name: str):
    """A module of the pack by its path inside it, for example "training.train", with its relative imports working."""
    return importlib.import_module(f"{load_pack()}.{name}")
