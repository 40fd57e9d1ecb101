"""One of several processes that sample a clip together, each with a slice of the tokens (sequence parallelism, as in raylight).

python token_process.py RANK SIZE STORE RESULT     rank 0 writes what was sampled to RESULT; SIZE 1 is ComfyUI as it is
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import host_comfyui

host_comfyui.start()
host_comfyui.load_pack()

import tiny
import torch
import torch.distributed
from comfy.ldm.flux.math import apply_rope1
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.wan.model import sinusoidal_embedding_1d
from safetensors.torch import save_file
from sampled import empty, given, run

LATENT = empty(5, size=12)  # 5 x 6 x 6 tokens, which 2 and 4 divide, in the middle of frames
TASKS = {"text to video": None, "image to video": ("0", "0"), "extension": ("0, 1, 2", "0, 0.3, 0.6")}


def results() -> dict[str, torch.Tensor]:
    """The latent of each task."""
    model, found = tiny.wan_model(tiny.wan_weights()), {}
    if torch.distributed.get_world_size() > 1:
        split(model.model.diffusion_model)
    for task, frames in TASKS.items():
        condition = frames and given(LATENT, *frames)
        found[task] = run(model, tiny.prompt(3), tiny.prompt(4), LATENT, condition, cfg=3.0)
    return found


def gathered(part: torch.Tensor) -> torch.Tensor:
    """The tokens of all ranks, from [B, N / P, C]."""
    parts = [torch.empty_like(part) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, part.contiguous())
    return torch.cat(parts, dim=1)


def split(network) -> None:
    """Let a Wan compute its own slice of the tokens; only attention sees those of all ranks."""
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def own(tokens):
        return tokens.chunk(size, dim=1)[rank]

    def forward(x, t, context, clip_fea=None, freqs=None, transformer_options={}, **others):
        x = network.patch_embedding(x)
        transformer_options["grid_sizes"] = grid = x.shape[2:]
        x = own(x.flatten(2).transpose(1, 2))
        e = network.time_embedding(sinusoidal_embedding_1d(network.freq_dim, t.flatten())).unflatten(
            0, t.shape if t.ndim > 1 else (-1, 1)
        )
        modulations, context = network.time_projection(e).unflatten(2, (6, network.dim)), network.text_embedding(context)
        replaced = transformer_options.get("patches_replace", {}).get("dit", {})
        for index, block in enumerate(network.blocks):
            options = {"context": context, "e": modulations, "freqs": own(freqs), "transformer_options": transformer_options}
            if ("double_block", index) not in replaced:
                x = block(x, **options)
                continue

            def original(given, block=block):
                told = {"e": given["vec"], "context": given["txt"], "freqs": given["pe"]}
                return {"img": block(given["img"], transformer_options=given["transformer_options"], **told)}

            given = {"img": x, "txt": context, "vec": modulations, "pe": own(freqs), "transformer_options": transformer_options}
            x = replaced["double_block", index](given, {"original_block": original})["img"]
        return network.unpatchify(network.head(gathered(x), e), grid)

    def attention(layer):
        def forward(x, freqs, transformer_options={}):
            heads = (*x.shape[:2], layer.num_heads, layer.head_dim)
            q, k = (
                apply_rope1(norm(linear(x)).view(heads), freqs).flatten(2)
                for norm, linear in ((layer.norm_q, layer.q), (layer.norm_k, layer.k))
            )
            whole = optimized_attention(
                q, gathered(k), gathered(layer.v(x)), heads=layer.num_heads, transformer_options=transformer_options
            )
            return layer.o(whole)

        return forward

    network.forward_orig = forward
    for block in network.blocks:
        block.self_attn.forward = attention(block.self_attn)


if __name__ == "__main__":
    own_rank, count, store, result = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=int(own_rank), world_size=int(count))
    sampled = results()
    if own_rank == "0":
        save_file(sampled, result)
    torch.distributed.destroy_process_group()
