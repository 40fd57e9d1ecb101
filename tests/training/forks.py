"""Processes that train together, forks of one that has computed nothing itself: autograd does not outlive a fork.

Started by a test. Each line that it reads is a run: its work, the environment of all processes and what is to befall them, their
number and port, and the file for what they print. It answers with a line of all exit codes.
"""

import builtins
import json
import multiprocessing
import os
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import host_comfyui  # noqa: E402

host_comfyui.start()
host_comfyui.load_pack()

import mochi  # noqa: E402
import tiny  # noqa: E402
import torch  # noqa: E402
from pusa.training.data.encoded import EncodedDataset  # noqa: E402
from pusa.training.loop import train  # noqa: E402
from pusa.training.method.lora import add_lora  # noqa: E402
from pusa.training.method.network import network_to_train  # noqa: E402
from pusa.training.settings import Settings  # noqa: E402
from pusa.training.train import main  # noqa: E402


def train_mochi(folder, accumulate: int) -> int:
    """Three steps of a tiny Mochi whose captions are all dropped, into a folder."""
    network = network_to_train(mochi.model())
    add_lora(network, 2)
    draws = tiny.seeded(0)
    latents = torch.randn(4, 12, 3, 4, 4, generator=draws)
    context = torch.randn(1, 5, mochi.CONFIG["t5_feat_dim"], generator=draws)
    data = EncodedDataset.from_tensors(latents, context, [0] * 4)
    settings = Settings(steps=3, learning_rate=1e-2, mixed_precision="no", caption_dropout=1.0, accumulate=int(accumulate))
    train(network, data, settings, Path(folder))
    return 0


def befall(event: str = "", path: str = "", signal: int = 0, error: str = "", largest: int = 0) -> None:
    """What goes wrong in this process the first time that it does something with a file, or when one is too large.

    Args:
        event: what it does, by Python's audit events, with a file in whose path the pattern ``path`` is found.
        signal, error: what comes of it; an error by its name.
        largest: bytes of a file that the disk takes.
    """
    if largest:
        import resource  # Windows has none

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    waiting = [event]

    def watch(raised: str, given: tuple) -> None:
        if raised in waiting and any(re.search(path, str(one)) for one in given):
            waiting.clear()
            if error:
                raise getattr(builtins, error)("as a test asks")
            os.kill(os.getpid(), signal)

    sys.addaudithook(watch)


def begin(rank: int, asked: dict) -> None:
    """One of the processes."""
    world = str(asked["processes"])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(asked["port"]), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.update(address | {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "ACCELERATE_USE_CPU": "true"})
    os.environ.update(asked["environment"])
    kind, *work = (part.replace("RANK", str(rank)) for part in asked["work"])
    with open(asked["said"], "a", encoding="utf-8") as said:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(said.fileno(), stream.fileno())
    befall(**asked["befalls"].get(str(rank), {}))
    sys.exit(main(work) if kind == "train" else train_mochi(*work))


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        asked = json.loads(line)
        parts = [fork.Process(target=begin, args=(rank, asked)) for rank in range(asked["processes"])]
        for part in parts:
            part.start()
        for part in parts:
            part.join(120)
        codes = [part.exitcode for part in parts]
        for part in parts:
            part.kill()
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()
