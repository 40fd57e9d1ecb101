"""A Ray on loopback that believes in two GPUs, and ComfyUI for its workers. Nothing here has the pack in this process."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from farms import STORE, comfyui_folder  # noqa: E402


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory) -> Path:
    return comfyui_folder(tmp_path_factory.mktemp("workers") / "ComfyUI")


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """The folder that workers put their own folders into, for all Rays that this process starts."""
    folder = tmp_path_factory.mktemp("lives")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", "/tmp")  # sockets have short names
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield folder


@pytest.fixture
def empty(places):
    """What workers have left in their folders so far, as a function."""
    return lambda: [path.name for parent in places.glob("pusa-farm-*") for path in parent.iterdir() if path.name != "lock"]


@pytest.fixture(scope="session")
def head(places):
    """The address of a Ray with two cores and, as it believes, two GPUs."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    yield cluster.address
    cluster.shutdown()
