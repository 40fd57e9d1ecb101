"""Sequence parallelism (raylight, xfuser): a rank holds a slice of the tokens and the modulations of all frames."""

import sys
import types

import pytest
import tiny
import torch
import torch.distributed
from pusa.pusa_model.network import modulation
from pusa.pusa_model.network.slices import ROWS as GIVEN_ROWS
from pusa.pusa_model.network.slices import own_rows, rows_of_slice
from pusa.schedulers import InputError
from torch.testing._internal.distributed.fake_pg import FakeStore

FRAMES, HEIGHT, WIDTH = GRID = (5, 4, 6)
TOKENS = FRAMES * HEIGHT * WIDTH


@pytest.fixture
def network(wan):
    return wan.model.diffusion_model


@pytest.fixture
def process_group(request):
    """A process group of PyTorch that sends nothing: (rank, size)."""
    rank, size = request.param
    torch.distributed.init_process_group("fake", rank=rank, world_size=size, store=FakeStore())
    yield request.param
    torch.distributed.destroy_process_group()


def block_call(network, options):
    """Arguments of the first block for a part of the tokens, and its stock computation."""
    x, text = (torch.randn(1, count, network.dim, generator=tiny.seeded(1)) for count in (TOKENS, 8))
    vector = torch.randn(1, FRAMES, 6, network.dim, generator=tiny.seeded(2))
    rope = network.rope_encode(FRAMES, 2 * HEIGHT, 2 * WIDTH, device="cpu", dtype=torch.float32)
    options = {"grid_sizes": GRID} | options

    def stock(args):
        return {"img": network.blocks[0](args["img"], e=args["vec"], freqs=args["pe"], context=args["txt"])}

    def arguments(part, vec=vector):
        return {"img": x[:, part], "txt": text, "vec": vec, "pe": rope[:, part], "transformer_options": options}

    def right(part):
        per_token = vector.repeat_interleave(HEIGHT * WIDTH, dim=1)
        return stock(arguments(part, per_token[:, part]))["img"]

    return arguments, stock, right


def replacements(network, kind):
    """Of the first block: this pack's, that of another pack, and none where the block is not ComfyUI's own."""
    options = {"patches_replace": {"dit": {("double_block", 0): lambda args, extra: extra["original_block"](args)}}}
    blocks = modulation.frame_blocks(network) if kind != "a block that is left alone" else {}
    options = options if kind == "another pack's" else {}
    modulation.add_replacements(options, blocks, len(network.blocks))
    return options["patches_replace"]["dit"][("double_block", 0)]


KINDS = ["ours", "another pack's", "a block that is left alone"]
RANKS = [(rank, size) for size in (2, 3, 4, 8) for rank in (0, 1, size - 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process_group", RANKS, indirect=True)
def test_a_slice_gets_the_modulations_of_its_own_tokens(network, process_group, kind):
    rank, size = process_group
    tokens = TOKENS // size
    arguments, stock, right = block_call(network, {})
    part = slice(rank * tokens, (rank + 1) * tokens)
    with torch.inference_mode():
        found = replacements(network, kind)(arguments(part), {"original_block": stock})["img"]
        assert torch.allclose(found, right(part), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process_group", [(1, 2)], indirect=True)
def test_all_tokens_are_no_slice(network, process_group, kind):
    arguments, stock, right = block_call(network, {})
    with torch.inference_mode():
        found = replacements(network, kind)(arguments(slice(None)), {"original_block": stock})["img"]
        assert torch.allclose(found, right(slice(None)), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process_group", [(0, 4)], indirect=True)
def test_a_slice_that_is_not_of_the_group_is_refused(network, process_group, kind):
    arguments, stock, _ = block_call(network, {})
    with torch.inference_mode(), pytest.raises(InputError, match="split over several GPUs"):
        replacements(network, kind)(arguments(slice(0, TOKENS // 2)), {"original_block": stock})


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_without_a_group_is_refused(network, kind):
    arguments, stock, _ = block_call(network, {})
    with torch.inference_mode(), pytest.raises(InputError, match="split over several GPUs"):
        replacements(network, kind)(arguments(slice(TOKENS // 2, None)), {"original_block": stock})


@pytest.mark.parametrize("process_group", [(3, 4)], indirect=True)
def test_the_group_of_xfuser_is_asked_first(network, process_group, monkeypatch):
    """Two clips on two GPUs each: the whole group has four processes, the one that shares a clip two."""
    group = types.SimpleNamespace(
        model_parallel_is_initialized=lambda: True,
        get_sequence_parallel_rank=lambda: 1,
        get_sequence_parallel_world_size=lambda: 2,
    )
    monkeypatch.setitem(sys.modules, "xfuser.core.distributed", group)
    arguments, stock, right = block_call(network, {})
    part = slice(TOKENS // 2, None)
    with torch.inference_mode():
        found = replacements(network, "ours")(arguments(part), {"original_block": stock})["img"]
        assert torch.allclose(found, right(part), atol=1e-5)


@pytest.mark.parametrize("process_group", [(1, 2)], indirect=True)
def test_an_xfuser_that_nobody_has_started_is_not_asked(network, process_group, monkeypatch):
    group = types.SimpleNamespace(model_parallel_is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "xfuser.core.distributed", group)
    arguments, stock, right = block_call(network, {})
    part = slice(TOKENS // 2, None)
    with torch.inference_mode():
        found = replacements(network, "ours")(arguments(part), {"original_block": stock})["img"]
        assert torch.allclose(found, right(part), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, FRAMES, 6, 8), (1, 1, 6, 8), (1, 6, 8)])
def test_timesteps_that_were_changed_on_the_way_are_refused(shape):
    """Also where there is one for all frames, in either form that ComfyUI gives it to a block."""
    with pytest.raises(InputError, match="7 timesteps for its latent frames, its blocks get"):
        own_rows(torch.zeros(shape), TOKENS, {GIVEN_ROWS: 7, "grid_sizes": GRID})


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_beside_the_clip_are_refused(network, kind):
    """A reference in front of the clip would give every token another frame's modulation."""
    arguments, stock, _ = block_call(network, {"grid_sizes": (FRAMES, HEIGHT, WIDTH - 1)})
    with torch.inference_mode(), pytest.raises(InputError, match="no frame"):
        replacements(network, kind)(arguments(slice(None)), {"original_block": stock})


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("grid", [(21, 30, 52), (21, 45, 80), (5, 4, 6), (1, 3, 5)])
def test_rows_are_those_of_every_token(grid, size):
    """Also where the ranks do not divide the tokens and the last slice runs over the end."""
    total = grid[0] * grid[1] * grid[2]
    tokens = -(-total // size)
    for rank in range(size):
        frames = rows_of_slice(grid[0], grid[1] * grid[2], tokens, rank)
        rows = [frame for frame in frames for _ in range(tokens // len(frames))]
        assert rows == [min((rank * tokens + token) // (grid[1] * grid[2]), grid[0] - 1) for token in range(tokens)]


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("grid", [(21, 30, 52), (21, 45, 80)])
def test_at_usual_sizes_there_is_a_row_for_each_frame(grid, size):
    """480p and 720p at 81 frames: nothing per token."""
    assert len(rows_of_slice(grid[0], grid[1] * grid[2], grid[0] * grid[1] * grid[2] // size, 1)) == grid[0]
