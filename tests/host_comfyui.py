"""A real ComfyUI inside this process, on the CPU, and the pack loaded the way ComfyUI loads it: as a package by path."""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start() -> None:
    """Make ComfyUI importable from COMFYUI_PATH, set to the CPU. Call before any import of comfy."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        raise SystemExit("COMFYUI_PATH is not set. Run the tests with: python dev.py test")
    if path not in sys.path:
        sys.path.insert(0, path)
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = True
    import torch

    if hasattr(os, "register_at_fork"):  # tests kill forked children, in which the threads of OpenMP are gone
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def passed(node, given: dict) -> dict:
    """Arguments of a node as ComfyUI passes them: each in a list, to a node that takes lists."""
    return {name: [value] for name, value in given.items()} if node.define_schema().is_input_list else given


def all_nodes() -> list:
    """The nodes of the pack, those for other packs among them; its folders are registered."""
    from pusa.nodes import FOR_OTHER_PACKS

    extension = asyncio.run(load_pack().comfy_entrypoint())
    asyncio.run(extension.on_load())
    return list(dict.fromkeys([*asyncio.run(extension.get_node_list()), *FOR_OTHER_PACKS]))


def load_pack():
    """Import the repository as the package ``pusa``, whatever its folder is called."""
    if "pusa" not in sys.modules:
        spec = importlib.util.spec_from_file_location("pusa", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
        module = importlib.util.module_from_spec(spec)
        sys.modules["pusa"] = module
        spec.loader.exec_module(module)
    return sys.modules["pusa"]
