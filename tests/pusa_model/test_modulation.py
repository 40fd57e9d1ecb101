"""Modulation per frame, without the repeats: the stock block's result to the bit, wherever the stock block is what there is."""

import pytest
import tiny
import torch
from pusa.pusa_model.network import modulation

FRAMES = 3


@pytest.fixture(scope="module")
def network():
    return tiny.wan_model(tiny.wan_weights()).model.diffusion_model


@pytest.fixture(scope="module")
def call():
    generator = tiny.seeded(0)
    x = torch.randn(2, 16, FRAMES, 8, 6, generator=generator)
    timestep = 1000 * torch.rand(2, FRAMES, generator=generator)
    return x, timestep, torch.randn(2, 8, tiny.TEXT_WIDTH, generator=generator)


def run(network, call, **options):
    with torch.no_grad():
        return network(*call, transformer_options=options)


def with_frames(network, **options):
    modulation.add_replacements(options, modulation.frame_blocks(network))
    return options


@pytest.mark.parametrize("batch", [1, 2])
def test_the_result_is_the_stock_one_to_the_bit(network, call, batch):
    call = tuple(part[:batch] for part in call)
    assert torch.equal(run(network, call, **with_frames(network)), run(network, call))


def test_attention_patches_are_honoured(network, call):
    def halve(args):
        return 0.5 * args["x"]

    patches = {"attn1_patch": [halve], "attn2_patch": [halve]}
    patched = run(network, call, patches=patches)
    assert not torch.equal(patched, run(network, call))
    assert torch.equal(run(network, call, **with_frames(network, patches=patches)), patched)


def test_the_replacement_of_another_pack_wins(network, call):
    theirs = {("double_block", 1): lambda args, extra: {"img": extra["original_block"](args)["img"] * 2}}
    options = with_frames(network, patches_replace={"dit": theirs})
    assert options["patches_replace"]["dit"][("double_block", 1)] is theirs[("double_block", 1)]
    assert torch.equal(run(network, call, **options), run(network, call, patches_replace={"dit": theirs}))


def test_other_replacements_stay(network):
    others = {"attn1": {("x", 0): print}}
    options = with_frames(network, patches_replace=others)
    assert options["patches_replace"]["attn1"] is others["attn1"]
    assert "dit" not in others


def test_tokens_that_do_not_divide_take_the_stock_block(network):
    block = network.blocks[0]
    called = []
    args = {"img": torch.zeros(1, 7, tiny.WIDTH), "vec": torch.zeros(1, 3, 6, tiny.WIDTH), "transformer_options": {}}
    modulation.frame_block(block, args, {"original_block": called.append})
    assert called == [args]


def test_blocks_with_a_forward_of_their_own_are_left_alone(network):
    class Other(type(network.blocks[0])):
        pass

    assert len(modulation.frame_blocks(network)) == len(network.blocks)
    block, kind = network.blocks[1], type(network.blocks[1])
    block.__class__ = Other
    try:
        assert list(modulation.frame_blocks(network)) == [("double_block", 0)]
    finally:
        block.__class__ = kind
    block.forward = block.forward  # what ComfyUI leaves behind where an object patch was undone
    assert len(modulation.frame_blocks(network)) == len(network.blocks)
    block.forward = lambda *args, **kwargs: kind.forward(block, *args, **kwargs)
    try:
        assert list(modulation.frame_blocks(network)) == [("double_block", 0)]
    finally:
        del block.forward


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_blocks_with_hooks_are_left_alone(network, kind):
    handle = getattr(network.blocks[1], kind)(lambda *args: None)
    assert list(modulation.frame_blocks(network)) == [("double_block", 0)]
    handle.remove()
    assert len(modulation.frame_blocks(network)) == len(network.blocks)


def kept(network, call, options) -> int:
    """Numbers in all tensors that a pass would keep for its way back."""
    sizes = []

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    x, timestep, context = call
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x.clone().requires_grad_(), timestep, context, transformer_options=options)
    return sum(sizes)


def test_the_modulation_is_not_repeated_for_every_token(network, call):
    """The stock block keeps four repeats of the tokens' size: of two scales and two gates."""
    x, blocks = call[0], len(network.blocks)
    tokens = x.shape[0] * FRAMES * (x.shape[3] // 2) * (x.shape[4] // 2) * tiny.WIDTH
    saved = kept(network, call, {}) - kept(network, call, with_frames(network))
    assert saved > 3.5 * blocks * tokens
