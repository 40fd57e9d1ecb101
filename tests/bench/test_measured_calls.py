"""What is timed is what the tables say: the same computation beside itself, on small networks."""

import sys

import host_comfyui
import pytest
import sampled
import torch

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks import attention, length, lora, runs, timesteps
from benchmarks.measure import networks  # noqa: E402
from benchmarks.measure.products import alike, recorded  # noqa: E402
from benchmarks.measure.side_by_side import timed  # noqa: E402

SIZE = next(iter(networks.SIZES))


@pytest.fixture(scope="module", autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def wan():
    return networks.Wan("narrow", 2, torch.float32)


def test_the_network_has_the_sizes_that_it_is_named_after(wan):
    assert (wan.network.dim, wan.network.num_heads, wan.network.num_layers) == (256, 2, 2)
    assert wan.network.blocks[1].ffn[0].weight.shape == (1024, 256)
    assert networks.plan(quick=False, layers=None).width == "1.3B", "the tests run on a CPU"


def test_a_vector_gives_the_same_through_both_kinds_of_block_and_in_diffusers(wan):
    inputs = wan.inputs(SIZE)
    results = {name: call() for name, call in timesteps.core_calls(wan, inputs).items()}
    assert torch.equal(results[timesteps.OURS], results[timesteps.OTHERS])
    assert not torch.allclose(results[timesteps.OURS], results[timesteps.CORE], atol=1e-2)
    other = timesteps.diffusers_network(wan)
    if isinstance(other, str):
        pytest.skip(other)
    assert (timesteps.diffusers_call(other, inputs)() - results[timesteps.OURS]).abs().max() < 1e-4


def test_every_attention_function_is_the_one_that_is_chosen(wan):
    for name, function in attention.functions().items():
        calls = []

        def counted(*args, function=function, calls=calls, **kwargs):
            calls.append(function)
            return function(*args, **kwargs)

        timesteps.core_calls(wan, wan.inputs(SIZE), attention.choose(counted))[timesteps.OURS]()
        assert len(calls) == 2 * len(wan.network.blocks), name


def test_both_runs_are_those_of_the_table(wan):
    """Without a condition the two samplers agree to the bit; with one, its frame comes back and the rest differs."""
    words, latent = runs.words_of(wan.inputs(SIZE)), runs.empty_latent((3, 8, 8))
    core, condition = runs.core_run(wan.model, words, latent)(), runs.first_frames(latent, 1)
    assert torch.equal(runs.our_run(wan.model, words, latent, None)(), core)
    ours = runs.our_run(wan.model, words, latent, condition)()
    assert torch.equal(ours[:, :, :1], condition.frames) and not torch.equal(ours[:, :, 1:], core[:, :, 1:])


def test_a_vector_needs_the_same_products_but_for_the_timesteps_themselves(wan):
    calls = timesteps.core_calls(wan, wan.inputs(SIZE))
    scalar, ours = (recorded(calls[name], timed)[1] for name in (timesteps.CORE, timesteps.OURS))
    same = alike(scalar, ours)
    of_the_time = sum(part.count for key, part in scalar.items() if key not in same)
    assert of_the_time == 3, "two for the embedding, one for what all blocks take from it"
    assert {"aten::addmm", "aten::gelu"} <= {name for name, _ in same}


@pytest.mark.parametrize("frames, latents", length.LENGTHS.items())
def test_windows_grow_with_the_frames_behind_the_first(wan, frames, latents):
    calls, latent, words = [], runs.empty_latent((latents, 4, 4)), runs.words_of(wan.inputs(SIZE))
    sampled.watch_network(wan.model, calls)
    runs.our_run(length.windowed(wan.model), words, latent, runs.first_frames(latent, 1), **length.ONE_STEP)()
    assert latents == (frames + 3) // 4
    assert [x.shape[2] for x, _ in calls] == [length.WINDOW] * ((frames - 1) // 20)


def test_all_loaders_make_the_same_weights_and_undo_brings_the_old_ones_back(wan, tmp_path):
    lora.write(tmp_path, lora.lora_tensors(wan.network, 4))
    weight = lambda: wan.network.blocks[1].ffn[0].weight.clone()  # noqa: E731
    before, after = weight(), []
    for name, load in lora.loaders(wan.model, tmp_path).items():
        lora.undo()
        lora.applied(load)()
        after.append(weight())
        assert not torch.equal(after[-1], before), name
        lora.undo()
        assert torch.equal(weight(), before), name
    assert torch.equal(after[0], after[1]) and torch.equal(after[0], after[2])
