"""Machines that come and go, and clusters that cannot be used."""

import pytest
from command_line import GIVEN, run
from farms import STORE, TINY, Line, servers, wait_for

from cli.server import free_port

pytest.importorskip("ray", reason='Ray is not installed: pip install "ray>=2.60"')
pytestmark = pytest.mark.ray
NODE = {"num_cpus": 1, "object_store_memory": STORE}


def test_machines_that_come_and_go_in_the_middle_lose_nothing(store, bucket, places, comfyui, tmp_path):
    """Nothing can be made until two come; one of them dies while it works. The videos are objects."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        jobs = {f"job{number}": {"seed": number, "num_inference_steps": 60} for number in range(5)}
        line = Line(cluster.address, comfyui, f"s3://{bucket}/run", jobs, "--gpus_per_job", "0", **store.environ())
        first, _ = cluster.add_node(**NODE), cluster.add_node(**NODE)
        line.until(lambda: line.text().count(": ComfyUI on ") == 2)
        assert len(servers(comfyui)) == 2
        cluster.remove_node(first, allow_graceful=False)
        wait_for(lambda: len(servers(comfyui)) == 1, 15)
        said = line.end(0)
        assert "it is tried again" in said and "5 done, 0 done before, 0 failed, of 5." in said
        assert store.keys(bucket, "run") == sorted(f"{id}.{suffix}" for id in jobs for suffix in ("mp4", "json"))
        cannot_be_used(cluster.address, comfyui, tmp_path)
    finally:
        cluster.shutdown()
    assert not servers(comfyui)


def cannot_be_used(address: str, comfyui, out) -> None:
    """What a cluster lacks is said: a place that its machines share, ComfyUI, GPUs."""

    def said(code: int, *flags) -> str:
        one = ("--image_paths", GIVEN / "nano_00.png", *TINY, "--ray", address, "--gpus_per_job", "0")
        return run("i2v", out, *one, *flags, code=code).stderr

    words = said(2, "--comfyui", comfyui, "--output_dir", "memory://of_each_process_alone")
    assert "is not that of this machine; give a URL" in words
    words = said(2, "--comfyui", comfyui, "--ray", f"127.0.0.1:{free_port()}")
    assert "nothing answers there" in words
    words = said(2, "--comfyui", out / "gone")
    assert f"no worker could start ComfyUI. there is no ComfyUI at {out / 'gone'} (--comfyui)" in words
    words = said(1, "--comfyui", comfyui, "--gpus_per_job", "9", "--wait", "1")
    assert "no machine had room for ComfyUI in 1 s: the cluster has 0 GPUs and 1 CPU cores" in words and "takes 9 GPUs" in words
