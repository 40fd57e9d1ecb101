"""Merge LoRA against `cp` of the same file: time and peak memory, on a synthetic model with the shapes of Wan 14B.

Both run in processes of their own, in turn, with the files in the page cache where they fit; both end with an fsync. The
memory is everything resident (VmHWM: Python, PyTorch and ComfyUI included, file pages too), read from Linux's /proc.
"""

import argparse
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from cli.host import ROOT, pack_module, start_comfyui

WIDTH, FFN = 5120, 13824
LIMIT = 2**30  # bytes above the largest tensor
COPY = "import os, shutil, sys; shutil.copyfile(*sys.argv[1:]); f = open(sys.argv[2], 'rb+'); os.fsync(f.fileno())"
ATTENTION = [f"{attention}.{target}" for attention in ("self_attn", "cross_attn") for target in "qkvo"]
SIZES = {module: (WIDTH, WIDTH) for module in ATTENTION} | {"ffn.0": (FFN, WIDTH), "ffn.2": (WIDTH, FFN)}


def model_outline(gigabytes: float, scaled: bool) -> list:
    """(name, dtype, shape, bytes) of as many blocks of Wan 14B as come nearest to the size."""
    dtype, size = ("F8_E4M3", 1) if scaled else ("BF16", 2)
    matrices = sum(rows * columns for rows, columns in SIZES.values())
    outline = [("patch_embedding.weight", "BF16", (WIDTH, 16, 1, 2, 2), 2 * WIDTH * 64)]
    for block in range(max(1, round(gigabytes * 1e9 / (size * matrices)))):
        for module, (rows, columns) in SIZES.items():
            name = f"blocks.{block}.{module}"
            outline.append((f"{name}.weight", dtype, (rows, columns), size * rows * columns))
            outline.append((f"{name}.bias", "BF16", (rows,), 2 * rows))
            outline += [(f"{name}.scale_weight", "F32", (), 4)] * scaled
    return outline + [("scaled_fp8", dtype, (0,), 0)] * scaled


def lora_outline(outline: list, rank: int) -> list:
    """The same of a LoRA for every matrix of the blocks, with the keys of the official files."""
    matrices = [(name.removesuffix(".weight"), shape) for name, _, shape, _ in outline if len(shape) == 2]
    return [
        (f"{name}.lora_{factor}.default.weight", "BF16", shape, 2 * shape[0] * shape[1])
        for name, (rows, columns) in matrices
        for factor, shape in (("A", (rank, columns)), ("B", (rows, rank)))
    ]


def write(path: Path, outline: list, pack_header) -> None:
    """Write a file of small random weights, block by block."""
    noise = 0.02 * torch.randn(2**23, generator=torch.Generator().manual_seed(0))
    blocks = {
        "BF16": noise.to(torch.bfloat16),
        "F8_E4M3": (1000 * noise).to(torch.float8_e4m3fn),
        "F32": torch.full((1,), 0.001),
    }
    blocks = {dtype: bytes(block.view(torch.uint8).numpy()) for dtype, block in blocks.items()}
    with open(path, "wb") as file:
        file.write(pack_header(outline, {})[0])
        for _, dtype, _, size in outline:
            whole, rest = divmod(size, len(blocks[dtype]))
            for _ in range(whole):
                file.write(blocks[dtype])
            file.write(blocks[dtype][:rest])


def measured(command: list) -> tuple:
    """(seconds, peak resident bytes, peak anonymous bytes, output) of a process."""
    peaks = {"VmHWM": 0, "RssAnon": 0}
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def watch():
        while process.returncode is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            for name, value in (line.split(":") for line in lines if line.startswith(tuple(peaks))):
                peaks[name] = max(peaks[name], int(value.split()[0]) * 1024)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        output = process.communicate()[0]
    finally:
        process.kill()
        process.wait()
        watcher.join()
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{command} ended with exit code {process.returncode}.")
    return seconds, peaks["VmHWM"], peaks["RssAnon"], output


def spread(values: list, unit: str = "") -> str:
    """Median and range."""
    return f"{statistics.median(values):8.2f}{unit}   {min(values):.2f} to {max(values):.2f}"


def run(folder: Path, arguments) -> int:
    """Measure in a folder that has room for three such files; returns 1 if the memory is over the limit."""
    start_comfyui()
    stream = pack_module("pusa_model.safetensors_stream")
    base, lora, merged, copy = (folder / f"{name}.safetensors" for name in ("base", "lora", "merged", "copy"))
    outline = model_outline(arguments.gb, arguments.scaled)
    factors = lora_outline(outline, arguments.rank)
    size, lora_size = (sum(entry[3] for entry in each) for each in (outline, factors))
    free = shutil.disk_usage(folder).free
    if free < 3 * size + lora_size:
        raise SystemExit(f"{(3 * size + lora_size) / 1e9:.1f} GB are needed in {folder}, {free / 1e9:.1f} GB are free.")
    print(f"Writing a model of {size / 1e9:.2f} GB and a LoRA of rank {arguments.rank}, {lora_size / 1e9:.2f} GB ...", flush=True)
    write(base, outline, stream.pack_header)
    write(lora, factors, stream.pack_header)
    rows = []
    for turn in range(arguments.repeats):
        copied, *_ = measured([sys.executable, "-c", COPY, str(base), str(copy)])
        command = [sys.executable, "-m", "pusa_model.merge", str(base), str(merged), "--lora", f"{lora}:1.4"]
        took, resident, anonymous, output = measured(command)
        inside = float(output.rsplit("(", 1)[1].split(" s)")[0])
        rows.append((took, inside, copied, resident, anonymous))
        print(f"  {turn + 1}: merge {took:.1f} s ({inside:.1f} s after start-up), cp {copied:.1f} s", flush=True)
        for path in (merged, copy):
            path.unlink()
    took, inside, copied, resident, anonymous = zip(*rows)
    largest = max(entry[3] for entry in outline)
    above = max(resident) - largest
    print(f"\n{'':42}{'median':>8}    range of {len(rows)}")
    print(f"{'merge, whole process':42}{spread(took, ' s')}")
    print(f"{'merge, after Python and ComfyUI started':42}{spread(inside, ' s')}")
    print(f"{'cp':42}{spread(copied, ' s')}")
    print(f"{'time merge / cp':42}{spread([a / b for a, b in zip(took, copied)])}")
    print(f"{'time merge / cp, without start-up':42}{spread([a / b for a, b in zip(inside, copied)])}")
    print(f"{'peak memory, all resident':42}{spread([value / 2**20 for value in resident], ' MiB')}")
    print(f"{'peak memory, anonymous':42}{spread([value / 2**20 for value in anonymous], ' MiB')}")
    print(f"{'largest tensor':42}{largest / 2**20:8.2f} MiB")
    if not max(resident):
        print("Peak memory is only measured on Linux.")
        return 0
    print(f"{'peak - largest tensor':42}{above / 2**20:8.2f} MiB, at most 1024: {'yes' if above <= LIMIT else 'NO'}")
    return 0 if above <= LIMIT else 1


def main(argv: list) -> int:
    """Run one command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py bench merge", description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=2.0, help="size of the model (default 2)")
    parser.add_argument("--rank", type=int, default=512, help="rank of the LoRA (default 512, that of the official files)")
    parser.add_argument("--scaled", action="store_true", help="scaled fp8 instead of bf16")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: the folder for temporary files)")
    arguments = parser.parse_args(argv)
    # Leaving by an exception is what removes the files.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="pusa-merge-", dir=arguments.folder) as folder:
        return run(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
