"""A small world to train on: eight latents that two captions tell apart, in memory."""

import pytest
import tiny
import torch
from pusa.training.data.encoded import EncodedDataset
from pusa.training.method.network import load_weights


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
def network(wan_weights):
    """Makes a fresh network with the weights of the session's tiny Wan."""
    return lambda full=False: load_weights(wan_weights, full=full)
