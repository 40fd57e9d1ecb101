"""Merge LoRA against a copy of the same file: time and peak memory, on a synthetic model with the shapes of Wan 14B.

Both run in processes of their own, in turn, with the files in the page cache where they fit; both end with an fsync. The
memory is everything resident (VmHWM: Python, PyTorch and ComfyUI included, file pages too), read from Linux's /proc.
"""

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

from hosting.process import ROOT, pack_module

from .measure.report import UNKNOWN, Limit, Table
from .measure.report import main as print_tables

WIDTH, FFN = 5120, 13824
RANK = 512  # that of the official files
LAYERS = 2
MOST = 1_200_000_000  # bytes of memory
COPY = "import os, shutil, sys; shutil.copyfile(*sys.argv[1:]); f = open(sys.argv[2], 'rb+'); os.fsync(f.fileno())"
NOTES = ("Median and range of the rounds. Both end with an fsync. Start-up: Python, PyTorch and ComfyUI.",)
ATTENTION = [f"{attention}.{target}" for attention in ("self_attn", "cross_attn") for target in "qkvo"]
SIZES = {module: (WIDTH, WIDTH) for module in ATTENTION} | {"ffn.0": (FFN, WIDTH), "ffn.2": (WIDTH, FFN)}


def model_outline(blocks: int, scaled: bool) -> list:
    """(name, dtype, shape, bytes) of the first blocks of Wan 14B."""
    dtype, size = ("F8_E4M3", 1) if scaled else ("BF16", 2)
    outline = [("patch_embedding.weight", "BF16", (WIDTH, 16, 1, 2, 2), 2 * WIDTH * 64)]
    for block in range(blocks):
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


def measure(folder: Path, scaled: bool, layers: int, rank: int, rounds: int) -> tuple[list[str], int]:
    """Measure one format in a folder that has room for four such files; returns a row of the table and the peak memory in bytes."""
    stream = pack_module("pusa_model.storage.safetensors_stream")
    base, lora, merged, copy = (folder / name for name in ("base.safetensors", "lora.pt", "merged.safetensors", "copy"))
    outline = model_outline(layers, scaled)
    size = sum(entry[3] for entry in outline)
    if shutil.disk_usage(folder).free < 4 * size:
        raise SystemExit(f"{4 * size / 1e9:.1f} GB are needed for temporary files.")
    write(base, outline, stream.pack_header)
    write_lora(lora, outline, rank, stream.pack_header)
    runs = []
    for _ in range(rounds):
        copied, *_ = measured([sys.executable, "-c", COPY, str(base), str(copy)])
        command = [sys.executable, "-m", "cli.merge", str(base), str(merged), "--lora", f"{lora}:1.4", "--overwrite"]
        took, resident, _, output = measured(command)
        runs.append((copied, took, float(output.rsplit("(", 1)[1].split(" s)")[0]), resident))
    copied, took, inside, resident = zip(*runs)
    ratios = [spread([a / b for a, b in zip(each, copied)]) for each in (took, inside)]
    what = f"{'scaled fp8' if scaled else 'bf16'}, {size / 1e9:.2f} GB"
    memory = f"{max(resident) / 2**20:.0f} MiB" if max(resident) else UNKNOWN
    return [what, spread(copied, " s"), spread(took, " s"), spread(inside, " s"), *ratios, memory], max(resident)


def write_lora(path: Path, outline: list, rank: int, pack_header) -> None:
    """A LoRA for every matrix, pickled like the official file."""
    from safetensors.torch import load_file

    plain = path.with_suffix(".safetensors")
    write(plain, lora_outline(outline, rank), pack_header)
    torch.save(load_file(plain), path)


def spread(values: tuple, unit: str = "") -> str:
    """Median, and the range in brackets."""
    return f"{statistics.median(values):.1f}{unit} ({min(values):.1f} to {max(values):.1f})"


def tables(arguments):
    """One table, a row for each format."""
    layers, rank = arguments.layers or LAYERS, 16 if arguments.quick else RANK
    rows, peaks = [], []
    for scaled in (True, False):
        with tempfile.TemporaryDirectory(prefix="pusa-merge-") as folder:
            row, peak = measure(Path(folder), scaled, layers, rank, arguments.rounds)
        rows.append(row)
        peaks.append(peak)
    heads = ["file", "copy", "merge", "behind start-up", "merge / copy", "behind start-up", "peak memory"]
    limits = (Limit("Peak memory in GB", max(peaks) / 1e9, MOST / 1e9),)
    yield Table(f"Merge LoRA: Wan 14B, {layers} blocks, a .pt of rank {rank}", heads, rows, limits, NOTES)


def main(argv: list) -> int:
    """Run one command line; returns the exit code."""
    # Leaving by an exception is what removes the files.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return print_tables("merge", __doc__, tables, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
