"""Several data sets in one run, and clips held out of it."""

import pytest
import tiny
import torch
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.data.joined import held_out, joined
from pusa.training.loop import train
from pusa.training.settings import Settings


def made(count, start=0, frames=3, rows=2):
    latents = [torch.full((16, frames, 4, 4), float(start + index)) for index in range(count)]
    return EncodedDataset.from_tensors(latents, [torch.full((rows, tiny.TEXT_WIDTH), float(start))], [0] * count)


def values(dataset):
    return [latent.mean().item() for latent, _ in dataset]


def test_stores_are_shown_as_often_as_is_said():
    both = joined([made(2), made(3, 10, frames=1, rows=4)], [3, 1])
    assert values(both) == [0, 1] * 3 + [10, 11, 12] and both.shapes == [(16, 3, 4, 4)] * 6 + [(16, 1, 4, 4)] * 3
    latents, contexts = joined([made(2), made(1, 5, rows=4)]).batch([0, 2])
    assert latents[:, 0, 0, 0, 0].tolist() == [0, 5] and contexts.shape == (2, 4, tiny.TEXT_WIDTH)
    assert not contexts[0, 2:].any() and (contexts[1] == 5).all()


def test_a_single_store_stays_what_it_is_and_the_hash_tells_the_rest_apart():
    first, second = made(2), made(2, 10)
    assert joined([first]) is first and joined([first], [1]) is first
    kinds = [joined([first, second]), joined([second, first]), joined([first, second], [1, 2]), joined([first], [2]), first]
    kinds += held_out(first, 0.5)
    assert len({each.hash for each in kinds}) == len(kinds)
    assert joined([first, second]).hash == joined([made(2), made(2, 10)]).hash


@pytest.mark.parametrize("repeats", [[1], [1, 0], [1, 1, 1]])
def test_repeats_that_cannot_be_meant_are_refused(repeats):
    with pytest.raises(InputError, match="give one number from 1 on for each of the 2 stores"):
        joined([made(1), made(1)], repeats)


@pytest.mark.parametrize("share, count", [(0.1, 1), (0.25, 2), (0.999, 9)])
def test_what_is_held_out_is_not_trained_on(share, count):
    everything = joined([made(5), made(5, 10)], [2, 1])
    kept, out = held_out(everything, share)
    assert len(out) == count and not set(values(kept)) & set(values(out))
    assert set(values(kept)) | set(values(out)) == set(values(everything)) and len(values(out)) == len(set(values(out)))
    assert values(held_out(everything, share)[1]) == values(out)


def test_one_clip_cannot_be_held_out():
    with pytest.raises(InputError, match="there is one clip only"):
        held_out(made(1), 0.5)


def test_a_mixture_is_trained_on(network):
    from pusa.training.method.lora import add_lora

    wan = network()
    add_lora(wan, 2)
    mixed = joined([made(2), made(2, 10, frames=1)], [2, 1])
    settings = Settings(steps=2, batch_size=2, mixed_precision="no", save_every=0)
    assert len(train(wan, mixed, settings, show=False).losses) == 2
