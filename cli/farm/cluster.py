"""The cluster: found or started, and left."""

import contextlib
import os
import socket

from hosting.process import ROOT

SHIPPED = ("cli", "hosting", "pyproject.toml")  # of this pack, which the workers get from here
MISSING = '--ray needs Ray in this Python: pip install "ray>=2.60"'
STORE = 256 * 2**20  # bytes of the object store of a cluster of our own: given pictures and clips go through it
NONE = "no Ray runs on this machine (or its token is not in ~/.ray/auth_token): `ray start --head` starts one, or take local"
DEAF = "what answers there takes no command from here; a Ray with a token wants it in ~/.ray/auth_token and RAY_AUTH_MODE=token"
PATIENCE = 10.0  # seconds for a head to answer


class FarmError(Exception):
    """A cluster that cannot be used, or workers that cannot make what is asked for."""


@contextlib.contextmanager
def connected(where: str):
    """Be on a cluster for the time of a block.

    Args:
        where: ``auto`` for the one of this machine, HOST:PORT of a head, ``local`` to start one here, which ends with the block.

    Raises:
        FarmError: there is no Ray, or no cluster.
    """
    try:
        import ray
    except ImportError:
        raise FarmError(MISSING) from None
    others = [f"/{name}" for name in os.listdir(ROOT) if name not in SHIPPED]
    options = {"runtime_env": {"working_dir": str(ROOT), "excludes": others}, "log_to_driver": False, "logging_level": "ERROR"}
    if where == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "object_store_memory": STORE}
    if ":" in where:  # Ray itself would try for minutes
        host, _, port = where.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
        except OSError:
            raise FarmError(f"--ray {where}: nothing answers there") from None
    try:
        ray.init(address=where, **options)
    except ConnectionError:
        raise FarmError(f"--ray {where}: {NONE if where == 'auto' else DEAF}") from None
    except Exception as error:  # RuntimeError, ValueError, gRPC's own
        hint = "the logs are in /tmp/ray" if where == "local" else "this command must run on a machine of the cluster"
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FarmError(f"--ray {where}: {why}; {hint}") from None
    try:
        yield
    finally:
        ray.shutdown()


def places(gpus: int) -> int:
    """How many workers the cluster has room for when nobody else uses it."""
    import ray

    have = ray.cluster_resources()
    return int(min(have.get("CPU", 0), have.get("GPU", 0) // gpus if gpus else have.get("CPU", 0)))


def told(gpus: int) -> str:
    """What the cluster has of what a worker needs."""
    import ray

    have, each = ray.cluster_resources(), f"{gpus} GPU{'s' * (gpus > 1)} and a CPU core" if gpus else "a CPU core"
    return f"the cluster has {have.get('GPU', 0):g} GPUs and {have.get('CPU', 0):g} CPU cores, and each ComfyUI takes {each}"
