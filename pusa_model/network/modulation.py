"""Per-frame modulation that is never repeated for every token.

ComfyUI's Wan blocks take one modulation per frame, [B, T, 6, C], and repeat each of the six for all tokens of a frame before
they use it (0.34 GB each, at 832 x 480 and 81 frames in bf16). The replacement here does the same sums on a view of the tokens,
[B, T, tokens / T, C], where the modulation broadcasts. The order of operations is the stock block's, so in float32 the result is
the same to the bit.

Where another pack gives a block a slice of the tokens (sequence parallelism), the block gets the rows of its slice: ``slices.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.ldm.wan.model import VaceWanAttentionBlock, WanAttentionBlock, WanI2VCrossAttention, WanT2VCrossAttention
from comfy.model_management import cast_to
from einops import rearrange
from torch import Tensor

from ..families.exchanged import exchange
from .slices import own_rows

IMAGE = "pusa_image_tokens"  # in the options of a call: tokens of a picture before those of the prompt; None where there is none

Replacement = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def frame_blocks(network: torch.nn.Module) -> dict[tuple[str, int], Replacement]:
    """Replacements for the blocks of a Wan network that are exactly ComfyUI's own, by their key in ``patches_replace["dit"]``.

    A block of another class (compiled, quantised, HuMo's), with a ``forward`` of its own or with hooks is left alone.
    """
    return {("double_block", index): partial(frame_block, block) for index, block in enumerate(network.blocks) if is_stock(block)}


def add_replacements(transformer_options: dict[str, Any], blocks: dict[tuple[str, int], Replacement], count: int = 0) -> None:
    """Put replacements into the options of one model call, behind those that are there already.

    Args:
        count: blocks of the network: so many, where other packs or nobody replaces them, get the rows of their tokens.
    """
    patches = transformer_options.get("patches_replace", {})
    dit = blocks | patches.get("dit", {})
    keys = (("double_block", index) for index in range(count))
    others = {key: dit.get(key, original) for key in keys if key not in blocks or dit[key] is not blocks[key]}
    dit |= {key: partial(with_own_rows, replacement) for key, replacement in others.items()}
    transformer_options["patches_replace"] = patches | {"dit": dit}


def is_stock(block: torch.nn.Module) -> bool:
    """Whether a block computes what ``frame_block`` does."""
    crossings = (WanT2VCrossAttention, WanI2VCrossAttention)
    return _is(block, WanAttentionBlock) and type(getattr(block, "cross_attn", None)) in crossings


def _is(block: torch.nn.Module, kind: type) -> bool:
    # Where an object patch of the forward was undone, ComfyUI leaves the class's own on the block.
    own = type(block) is kind and getattr(block.forward, "__func__", None) is kind.forward
    return own and not block._forward_hooks and not block._forward_pre_hooks


def with_own_rows(replacement: Replacement, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Call a replacement with the modulations of its own tokens."""
    return replacement(own_args(args), extra)


def own_args(args: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a block with the modulations of its own tokens."""
    rows = own_rows(args["vec"], args["img"].shape[1], args.get("transformer_options", {}))
    return args if rows is None else {**args, "vec": args["vec"][:, rows]}


def original(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """The block itself."""
    return extra["original_block"](args)


def frame_block(block: WanAttentionBlock, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """One block of a Wan network.

    Args:
        args: ``img`` [B, L, C], ``vec`` [B, T, 6, C], ``txt``, ``pe`` and ``transformer_options``, as ComfyUI gives them.
        extra: ``original_block``, which takes over where the tokens do not divide by the frames, or where a forward of another pack
            does not hand on the options.

    Returns:
        ``img`` [B, L, C].
    """
    args = own_args(args)
    x, modulation, options = args["img"], args["vec"], args.get("transformer_options")
    pictures = isinstance(block.cross_attn, WanI2VCrossAttention)
    if options is None or x.shape[1] % modulation.shape[1] or pictures and IMAGE not in options:
        return extra["original_block"](args)
    return {"img": modulated(block, x, modulation, args["pe"], args["txt"], options, options[IMAGE] if pictures else None)}


def vace_block(
    block, c: Tensor, x: Tensor, e: Tensor, freqs: Tensor, context: Tensor, context_img_len=None, transformer_options={}
) -> tuple[Tensor, Tensor]:
    """One of VACE's blocks for the control c [B, L, C] of a clip x; returns what is added to the clip, and the control."""
    if e.ndim < 4 or c.shape[1] % e.shape[1]:
        given = {"e": e, "freqs": freqs, "context": context, "context_img_len": context_img_len}
        return VaceWanAttentionBlock.forward(block, c, x, **given, transformer_options=transformer_options)
    if block.block_id == 0:
        c = block.before_proj(c) + x
    c = modulated(block, c, e, freqs, context, transformer_options, context_img_len)
    return block.after_proj(c), c


def exchange_vace_blocks(patched) -> None:
    """Exchange the forwards of VACE's blocks on a cloned MODEL by ``vace_block``, where they are ComfyUI's own."""
    for index, block in enumerate(getattr(patched.model.diffusion_model, "vace_blocks", ())):
        name = f"diffusion_model.vace_blocks.{index}.forward"
        if _is(block, VaceWanAttentionBlock) and name not in patched.object_patches:
            exchange(patched, name, vace_block)


def modulated(
    block: WanAttentionBlock, x: Tensor, modulation: Tensor, freqs: Tensor, context: Tensor, options: dict[str, Any], image=None
) -> Tensor:
    """The sums of ``WanAttentionBlock.forward`` with modulations [B, T, 6, C] on tokens [B, L, C], L a multiple of T.

    Args:
        image: of the tokens of ``context``, those in front that are a picture's.
    """
    frames = modulation.shape[1]

    def framed(tokens):
        return rearrange(tokens, "b (t n) c -> b t n c", t=frames)

    def flat(tokens):
        return rearrange(tokens, "b t n c -> b (t n) c")

    modulation = cast_to(block.modulation, dtype=x.dtype, device=x.device).unsqueeze(0) + modulation
    shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = rearrange(modulation, "b t six c -> six b t 1 c")
    x = x.contiguous()
    y = flat(torch.addcmul(shift, framed(block.norm1(x)), 1 + scale))
    y = block.self_attn(y, freqs, transformer_options=options)
    x = flat(torch.addcmul(framed(x), framed(y), gate))
    del y  # or it would lie beside the feed-forward, where a block takes the most memory
    x = x + block.cross_attn(block.norm3(x), context, context_img_len=image, transformer_options=options)
    for patch in options.get("patches", {}).get("attn2_patch", ()):
        x = patch({"x": x, "transformer_options": options})
    y = block.ffn(flat(torch.addcmul(ffn_shift, framed(block.norm2(x)), 1 + ffn_scale)))
    return flat(torch.addcmul(framed(x), framed(y), ffn_gate))
