"""A real ComfyUI server with the pack and tiny models, for the whole session."""

import asyncio
import compileall
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import host_comfyui
import numpy as np
import pytest
import tiny
from PIL import Image

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from cli.client import ComfyClient  # noqa: E402
from cli.server import ComfyServer, cpu_arguments  # noqa: E402


def gradient(shift: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A picture [H, W, 3] whose gradient moves with ``shift``."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 3 + shift * 8) % 256, (y * 3) % 256, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def write_clip(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(16))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(index), format="rgb24")))
        container.mux(stream.encode())


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
    write_clip(base / "input" / "clip.mp4", 40)
    write_clip(base / "input" / "short.mp4", 5)
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
