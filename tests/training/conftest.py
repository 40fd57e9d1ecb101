"""A small world to train on: eight latents that two captions tell apart, in memory; and processes that train together."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from accelerate.state import AcceleratorState, PartialState
from pusa.training.data.encoded import EncodedDataset
from pusa.training.method.network import load_weights
from run_files import written


@pytest.fixture(autouse=True)
def one_thread():
    """The networks are too small for more, which would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clips():
    """Latents [8, 16, 3, 4, 4] that are far from noise, so that a few steps learn something."""
    generator = tiny.seeded(0)
    latents = torch.randn(2, 16, 1, 1, 1, generator=generator)[[0, 1] * 4] + 0.1 * torch.randn(8, 16, 3, 4, 4, generator=generator)
    contexts = torch.randn(2, 8, tiny.TEXT_WIDTH, generator=generator)
    return EncodedDataset.from_tensors(latents, contexts, [0, 1] * 4, empty=torch.ones(8, tiny.TEXT_WIDTH))


@pytest.fixture
def store_and_model(tmp_path, clips, wan_weights):
    """A store and a model in the folder of the test, as a command line gives them."""
    return written(tmp_path, clips, wan_weights)


@pytest.fixture(scope="session")
def parent():
    """A process that computes nothing itself; the runs of the tests are forks of it."""
    command = [sys.executable, str(Path(__file__).with_name("forks.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def together(parent, tmp_path_factory):
    """What processes print that train together, as a function of what a launcher says to them and of their work."""
    said = tmp_path_factory.mktemp("together") / "said.txt"

    def run(environment, *work, processes=2, codes=(0, 0), befalls=None):
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        said.write_text("")
        asked = {"work": [str(each) for each in work], "environment": environment, "port": port, "said": str(said)}
        parent.stdin.write(json.dumps(asked | {"processes": processes, "befalls": befalls or {}}) + "\n")
        parent.stdin.flush()
        assert tuple(json.loads(parent.stdout.readline())) == codes, said.read_text()[-3000:]
        return said.read_text()

    return run


@pytest.fixture
def network(wan_weights):
    """Makes a fresh network with the weights of the session's tiny Wan."""
    return lambda full=False: load_weights(wan_weights, full=full)
