"""A timestep per latent frame for ComfyUI's Mochi 1, and the prompt that attends no token. Both are of Pusa V0.5.

Mochi embeds one number per row and asks no wrapper, so its forward is exchanged on the clone by the one below, which runs the
network's own submodules: LoRAs, quantised weights and offloading stay what they are. With one timestep and no empty prompt the
class's own forward is called.

Source: Pusa V0.5, ``asymm_models_joint`` of its code: the vector is embedded per frame, the text stream is modulated by its mean;
an empty prompt has an empty mask, as caption dropout made it in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from comfy.ldm.common_dit import rms_norm
from comfy.ldm.genmo.joint_model.asymm_models_joint import AsymmDiTJoint, AsymmetricAttention, AsymmetricJointBlock
from comfy.ldm.genmo.joint_model.rope_mixed import compute_mixed_rotation, create_position_matrix
from comfy.ldm.genmo.joint_model.temporal_rope import apply_rotary_emb_qk_real
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_management import cast_to
from comfy.patcher_extension import WrapperExecutor
from einops import rearrange
from torch import Tensor
from torch.nn.functional import silu

from ...schedulers import InputError
from .exchanged import exchange

FORWARD = "diffusion_model.forward"
END = 1  # tokens of an empty prompt: the end alone, to which ComfyUI gives a mask of 1


def is_empty_prompt(options: dict[str, Any]) -> bool:
    """Whether an entry of a CONDITIONING was encoded from no text, or from no text in one of its rows."""
    mask = options.get("attention_mask")
    return mask is not None and bool((mask.reshape(-1, mask.shape[-1]).sum(-1) <= END).any())


def exchange_forward(patched, wrappers: Sequence[Callable] = ()) -> None:
    """Exchange the forward of the network of a cloned MODEL.

    Args:
        wrappers: DIFFUSION_MODEL wrappers that the forward runs, as ComfyUI's other networks do by themselves.

    Raises:
        InputError: another pack has exchanged it before.
    """
    if FORWARD in patched.object_patches:
        raise InputError(
            f"another node has replaced `{FORWARD}` of the model, which Mochi's timesteps and empty prompts need here. Remove the "
            "node that patches the model, or sample without a condition and with a negative prompt."
        )
    exchange(patched, FORWARD, forward, list(wrappers))


def forward(
    network: AsymmDiTJoint,
    wrappers: list[Callable],
    x: Tensor,
    timestep: Tensor,
    context: Tensor,
    attention_mask: Tensor | None = None,
    num_tokens: int = 256,
    transformer_options={},
    **others,
) -> Tensor:
    """What ComfyUI calls: latents [B, 12, T, h, w] and levels [B] to the velocity ``noise - data``."""
    executor = WrapperExecutor.new_class_executor(partial(velocity, network), network, wrappers)
    others |= {"attention_mask": attention_mask, "num_tokens": num_tokens, "transformer_options": transformer_options}
    return executor.execute(x, timestep, context, **others)


def velocity(
    network: AsymmDiTJoint, x: Tensor, timestep: Tensor, context: Tensor, attention_mask=None, transformer_options={}, **others
) -> Tensor:
    """The network with a level for every latent frame.

    Args:
        x: latents [B, 12, T, h, w].
        timestep: levels s in [0, 1], [B] or [B, T]; 1 - s is embedded.
        context: T5 features [B, L, D].
        attention_mask: [B, L], 1 where a token is one of the prompt; a row with one or none is an empty prompt.
        others: what ComfyUI gives beside; ``num_tokens`` counts again what the mask says for each row.

    Returns:
        [B, 12, T, h, w], in ComfyUI's sign.

    Raises:
        InputError: the prompt was encoded without a mask, by the text encoder of another family.
    """
    if attention_mask is None:
        raise InputError("a prompt has no mask of its tokens. Encode it with CLIP Text Encode and Load CLIP of type mochi (t5xxl).")
    counts = attention_mask.sum(1).tolist()
    if timestep.ndim == 1 and min(counts) > END:
        return type(network).forward(
            network, x, timestep, context, attention_mask, transformer_options=transformer_options, **others
        )
    counts = [0 if count <= END else int(count) for count in counts]
    mask = attention_mask * attention_mask.new_tensor([count > 0 for count in counts])[:, None]
    frames, (rows, columns) = x.shape[2], (side // network.patch_size for side in x.shape[3:])
    levels = timestep.reshape(len(timestep), -1).expand(-1, frames)

    img = network.embed_x(x)
    places = create_position_matrix(frames, pH=rows, pW=columns, device=img.device, dtype=torch.float32)
    frequencies = cast_to(network.pos_frequencies, dtype=img.dtype, device=img.device)
    rotation = compute_mixed_rotation(freqs=frequencies, pos=places)
    embedded = rearrange(network.t_embedder(1 - levels.flatten(), out_dtype=img.dtype), "(b t) c -> b t c", t=frames)
    vector = embedded + network.t5_y_embedder(context, mask)[:, None]
    txt = network.t5_yproj(context)

    replacements = transformer_options.get("patches_replace", {}).get("dit", {})
    for index, block in enumerate(network.blocks):
        args = {"img": img, "txt": txt, "vec": vector, "rope_cos": rotation[0], "rope_sin": rotation[1]}
        args |= {"num_tokens": max(counts), "transformer_options": transformer_options}
        own, replacement = partial(joint_block, block, counts), replacements.get(("double_block", index))
        out = own(args) if replacement is None else replacement(args, {"original_block": own})
        img, txt = out["img"], out["txt"]
    shift, scale = network.final_layer.mod(silu(vector)).chunk(2, dim=-1)
    normed = rearrange(network.final_layer.norm_final(img), "b (t n) c -> b t n c", t=frames)
    patches = network.final_layer.linear(normed * (1 + scale[:, :, None]) + shift[:, :, None])
    sides = {"h": rows, "w": columns, "p": network.patch_size, "q": network.patch_size}
    return -rearrange(patches, "b t (h w) (p q c) -> b c t (h p) (w q)", **sides)


def joint_block(block: AsymmetricJointBlock, counts: list[int], args: dict[str, Any]) -> dict[str, Tensor]:
    """One block: ``img`` [B, T n, C] modulated per frame by ``vec`` [B, T, C], ``txt`` [B, L, D] by its mean over the frames.

    Args:
        counts: tokens of the prompt that each row attends.
    """
    x, y, vector = args["img"], args["txt"], args["vec"]
    scale_x, gate_x, mlp_scale_x, mlp_gate_x = (each[:, :, None] for each in block.mod_x(silu(vector)).chunk(4, dim=-1))
    of_text = block.mod_y(silu(vector.mean(1)))[:, None]
    scale_y, gate_y, mlp_scale_y, mlp_gate_y = of_text.chunk(4, dim=-1) if block.update_y else (of_text, None, None, None)

    rotation = args["rope_cos"], args["rope_sin"]
    of_x, of_y = attention(block.attn, modulated(x, scale_x), modulated(y, scale_y), counts, rotation, args["transformer_options"])
    x = gated(x, of_x, gate_x)
    x = gated(x, block.mlp_x(modulated(x, mlp_scale_x)), mlp_gate_x)
    if block.update_y:
        y = gated(y, of_y, gate_y)
        y = gated(y, block.mlp_y(modulated(y, mlp_scale_y)), mlp_gate_y)
    return {"img": x, "txt": y}


def _frames(tokens: Tensor, like: Tensor) -> Tensor:
    """Tokens [B, L, C] on the axes of a modulation: [B, T, n, C] for one per frame, as they are for one for all."""
    return tokens if like.ndim == 3 else rearrange(tokens, "b (t n) c -> b t n c", t=like.shape[1])


def modulated(tokens: Tensor, scale: Tensor) -> Tensor:
    """Normed tokens times ``1 + scale``, [B, L, C]."""
    return (rms_norm(_frames(tokens, scale), eps=1e-6) * (1 + scale)).reshape(tokens.shape)


def gated(tokens: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    """Tokens plus their normed update times ``tanh(gate)``, [B, L, C]."""
    return tokens + (rms_norm(_frames(update, gate), eps=1e-6) * torch.tanh(gate)).reshape(tokens.shape)


def attention(
    layer: AsymmetricAttention, x: Tensor, y: Tensor, counts: list[int], rotation: tuple[Tensor, Tensor], options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Joint attention of modulated tokens: those of the clip x, and of the text y the first ``counts[i]`` in row i."""

    def heads(projected):
        return rearrange(projected, "b l (three h d) -> three b l h d", three=3, h=layer.num_heads)

    q_x, k_x, v_x = heads(layer.qkv_x(x))
    q_y, k_y, v_y = heads(layer.qkv_y(y))
    q_x, k_x = (apply_rotary_emb_qk_real(each, *rotation) for each in (layer.q_norm_x(q_x), layer.k_norm_x(k_x)))
    pairs = (q_x, layer.q_norm_y(q_y)), (k_x, layer.k_norm_y(k_y)), (v_x, v_y)
    of_x, of_y = [], y.new_zeros(len(y), y.shape[1], layer.dim_x)
    order = sorted(range(len(counts)), key=counts.__getitem__)
    for count, same in groupby(order, key=counts.__getitem__):
        rows = list(same) if len(set(counts)) > 1 else slice(None)
        q, k, v = (rearrange(torch.cat([a[rows], b[rows, :count]], dim=1), "b l h d -> b h l d") for a, b in pairs)
        out = optimized_attention(q, k, v, layer.num_heads, skip_reshape=True, transformer_options=options)
        of_x.append(out[:, : x.shape[1]])
        of_y[rows, :count] = out[:, x.shape[1] :]
    whole = of_x[0] if len(of_x) == 1 else torch.cat(of_x)[torch.tensor(order).argsort()]
    return layer.proj_x(whole), layer.proj_y(of_y)
