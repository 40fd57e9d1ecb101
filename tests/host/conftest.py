"""A real ComfyUI server with the pack and tiny models, for the whole session."""

import asyncio
import compileall
import os
import sys
from pathlib import Path

import host_comfyui
import pytest
import tiny
from films import gradient, write_film
from PIL import Image

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from cli.client import ComfyClient  # noqa: E402
from cli.server import ComfyServer, cpu_arguments  # noqa: E402


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A base directory with the pack linked under a name with a hyphen, tiny models, pictures and a clip.

    The pack is compiled to bytecode, as it is from ComfyUI's second start on.
    """
    for room in ("nodes", "pusa_model", "schedulers"):
        compileall.compile_dir(host_comfyui.ROOT / room, quiet=1)
    base = tmp_path_factory.mktemp("comfyui")
    for folder in ("custom_nodes", "input", "output", "models"):
        (base / folder).mkdir()
    os.symlink(host_comfyui.ROOT, base / "custom_nodes" / "pusa-under-another-name", target_is_directory=True)
    tiny.write(base / "models")
    for index, name in enumerate(("start", "middle", "end")):
        Image.fromarray(gradient(10 * index, 96, 80)).save(base / "input" / f"{name}.png")
    Image.fromarray(gradient(0)).convert("RGBA").save(base / "input" / "alpha.png")
    write_film(base / "input" / "clip.mp4", 40)
    write_film(base / "input" / "short.mp4", 5)
    return base


@pytest.fixture(scope="session")
def server(base) -> ComfyServer:
    arguments = [*cpu_arguments(sys.executable), "--preview-method", "latent2rgb"]
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=arguments) as server:
        yield server


@pytest.fixture
def ask(server):
    """Run ``await question(client)`` against the server and return its answer."""

    def run(question):
        async def connected():
            async with ComfyClient(server.url) as client:
                return await question(client)

        return asyncio.run(connected())

    return run
