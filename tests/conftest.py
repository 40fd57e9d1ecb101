"""Every test runs against a real ComfyUI (COMFYUI_PATH) with the pack loaded as the package ``pusa``."""

import host_comfyui

host_comfyui.start()
host_comfyui.load_pack()

import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import nodes  # noqa: E402, F401  # ComfyUI's own, before pytest gives that name to the folder tests/nodes
import pytest  # noqa: E402
import tiny  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("pusa", deadline=None, derandomize=True)
settings.load_profile("pusa")
comfy.utils.PROGRESS_BAR_ENABLED = False


@pytest.fixture(scope="session", autouse=True)
def user_folder(tmp_path_factory):
    """ComfyUI's user folder, where windows are kept: an empty one, so that no run finds those of the run before."""
    folder_paths.set_user_directory(str(tmp_path_factory.mktemp("user")))


@pytest.fixture(scope="session")
def wan_weights():
    return tiny.wan_weights()


@pytest.fixture
def wan(wan_weights):
    """A tiny Wan text-to-video MODEL with random weights."""
    return tiny.wan_model(wan_weights)


@pytest.fixture(scope="session")
def vae():
    """A tiny Wan VAE with random weights."""
    return tiny.vae()


@pytest.fixture(scope="session")
def positive():
    return tiny.prompt(3)


@pytest.fixture(scope="session")
def negative():
    return tiny.prompt(4)
