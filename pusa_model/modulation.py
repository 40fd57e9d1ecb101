"""Per-frame modulation that is never repeated for every token.

ComfyUI's Wan blocks take one modulation per frame, [B, T, 6, C], and repeat each of the six for all tokens of a frame before
they use it (0.34 GB each, at 832 x 480 and 81 frames in bf16). The replacement here does the same sums on a view of the tokens,
[B, T, tokens / T, C], where the modulation broadcasts. The order of operations is the stock block's, so in float32 the result is
the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.ldm.wan.model import WanAttentionBlock, WanT2VCrossAttention
from comfy.model_management import cast_to

Replacement = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def frame_blocks(network: torch.nn.Module) -> dict[tuple[str, int], Replacement]:
    """Replacements for the blocks of a Wan network that are exactly ComfyUI's own, by their key in ``patches_replace["dit"]``.

    A block of another class (compiled, quantised by another pack, VACE), with a ``forward`` of its own or with hooks is left alone.
    """
    return {("double_block", index): partial(frame_block, block) for index, block in enumerate(network.blocks) if is_stock(block)}


def is_stock(block: torch.nn.Module) -> bool:
    """Whether a block computes what ``frame_block`` does."""
    classes = type(block), type(getattr(block, "cross_attn", None))
    hooked = "forward" in vars(block) or block._forward_hooks or block._forward_pre_hooks
    return classes == (WanAttentionBlock, WanT2VCrossAttention) and not hooked


def add_replacements(transformer_options: dict[str, Any], blocks: dict[tuple[str, int], Replacement]) -> None:
    """Put replacements into the options of one model call, behind those that are there already."""
    patches = transformer_options.get("patches_replace", {})
    transformer_options["patches_replace"] = patches | {"dit": blocks | patches.get("dit", {})}


def frame_block(block: WanAttentionBlock, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """One block of a Wan text-to-video network.

    Args:
        args: ``img`` [B, L, C], ``vec`` [B, T, 6, C], ``txt``, ``pe`` and ``transformer_options``, as ComfyUI gives them.
        extra: ``original_block``, which takes over where the tokens do not divide by the frames.

    Returns:
        ``img`` [B, L, C].
    """
    x, modulation, options = args["img"], args["vec"], args["transformer_options"]
    frames = modulation.shape[1]
    if x.shape[1] % frames:
        return extra["original_block"](args)

    def framed(tokens):
        return tokens.unflatten(1, (frames, -1))

    modulation = cast_to(block.modulation, dtype=x.dtype, device=x.device).unsqueeze(0) + modulation
    shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unsqueeze(3).unbind(2)  # each [B, T, 1, C]
    x = x.contiguous()
    y = torch.addcmul(shift, framed(block.norm1(x)), 1 + scale).flatten(1, 2)
    y = block.self_attn(y, args["pe"], transformer_options=options)
    x = torch.addcmul(framed(x), framed(y), gate).flatten(1, 2)
    del y  # or it would lie beside the feed-forward, where a block takes the most memory
    x = x + block.cross_attn(block.norm3(x), args["txt"], transformer_options=options)
    for patch in options.get("patches", {}).get("attn2_patch", ()):
        x = patch({"x": x, "transformer_options": options})
    y = block.ffn(torch.addcmul(ffn_shift, framed(block.norm2(x)), 1 + ffn_scale).flatten(1, 2))
    return {"img": torch.addcmul(framed(x), framed(y), ffn_gate).flatten(1, 2)}
