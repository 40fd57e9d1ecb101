"""The merge as a process of its own: what it says, what it leaves, and how much memory it takes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import host_comfyui
import pytest
from pusa.pusa_model.lora.merge.stream import merge
from pusa.pusa_model.lora.merged import merged_loras
from pusa.pusa_model.storage.safetensors_stream import pack_header

from benchmarks import merge as bench


def shell(*arguments, **options):
    command = [sys.executable, "-m", "cli.merge", *map(str, arguments)]
    return subprocess.run(command, cwd=host_comfyui.ROOT, capture_output=True, text=True, **options)


def test_the_command_merges_and_says_what_is_wrong(base, loras):
    pusa, out = loras / "pusa.safetensors", loras / "out.safetensors"
    done = shell(base, out, "--lora", f"{pusa}:1.3", "--lora", loras / "light.safetensors")
    assert done.returncode == 0, done.stderr
    assert "100 %" in done.stdout and done.stdout.splitlines()[-1].startswith(f"{out} is complete")
    assert [each["strength"] for each in merged_loras(out)] == [1.3, 1.4]
    merge(base, [(pusa, 1.3), (loras / "light.safetensors", 1.4)], loras / "node.safetensors")
    assert (loras / "node.safetensors").read_bytes() == out.read_bytes()
    again = shell(base, out, "--lora", pusa)
    assert again.returncode == 1 and "Error: `filename`: out.safetensors exists" in again.stderr
    assert shell(base, out).returncode == 2
    assert "COMFYUI_PATH" in shell(base, out, "--lora", pusa, env={**os.environ, "COMFYUI_PATH": ""}).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on the size of files")
def test_a_disk_that_fills_up_halfway_is_told_and_nothing_is_left(base, loras):
    import resource

    size = base.stat().st_size // 2
    before = sorted(loras.iterdir())
    command = (base, loras / "out.safetensors", "--lora", loras / "pusa.safetensors")
    done = shell(*command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert done.returncode == 1 and "out.safetensors cannot be written: the disk takes no file" in done.stderr
    assert str(loras) not in done.stderr and sorted(loras.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without telling them")
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_nothing(tmp_path, number, code):
    base, lora, output = real_files(tmp_path, [("blocks.0.self_attn.q.weight", "F8_E4M3", (5120, 5120), 5120 * 5120)], 512)
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "cli.merge", str(base), str(output), "--lora", str(lora)]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    with subprocess.Popen(command, cwd=host_comfyui.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        signal.signal(signal.SIGINT, heard)
        while process.poll() is None and sorted(tmp_path.iterdir()) == before:
            time.sleep(0.001)
        process.send_signal(number)
        assert process.wait() == code
    assert sorted(tmp_path.iterdir()) == before


def real_files(folder, weights, rank):
    """A base with a few weights, a LoRA for them, and a name for the output."""
    outline = [entry for entry in bench.model_outline(1, scaled=True) if entry[0].startswith(("patch_embedding", "scaled_fp8"))]
    for name, *rest in weights:
        outline += [(name, *rest), (f"{name.removesuffix('.weight')}.scale_weight", "F32", (), 4)]
    base, lora, output = (folder / f"{name}.safetensors" for name in ("base", "lora", "output"))
    bench.write(base, outline, pack_header)
    bench.write(lora, bench.lora_outline(outline, rank), pack_header)
    return base, lora, output


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "shape, rank, most",
    [((40_000, 5120), 64, 40_000 * 5120 + 2**30), ((5120, 13824), 512, bench.MOST)],
    ids=["too large to be kept", "the largest of Wan 14B"],
)
def test_memory_stays_within_its_bound(tmp_path, shape, rank, most):
    """Scaled fp8 takes the most. The process is measured as a whole, with Python, PyTorch and ComfyUI in it.

    Pages that the system has not taken back yet make a percent or so.
    """
    base, lora, output = real_files(tmp_path, [("blocks.0.ffn.2.weight", "F8_E4M3", shape, shape[0] * shape[1])], rank)
    command = [sys.executable, "-m", "cli.merge", str(base), str(output), "--lora", str(lora)]
    _, resident, _, _ = bench.measured(command)
    assert resident <= 1.02 * most
