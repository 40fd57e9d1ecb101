"""One call of the network with a vector of timesteps, beside the same call with one number, and beside diffusers.

On a CPU the network is that of Wan 1.3B with 2 blocks; on a GPU that of Wan 14B with as many as fit.
"""

import sys

import torch

from hosting.process import pack_module

from .measure import report
from .measure.peaks import allocated, peaks
from .measure.report import FINE_HEADS, MEMORY_HEADS, TIME_HEADS, Limit, Table, memory_cells, memory_ratio, time_cells
from .measure.side_by_side import interleaved

CORE, AGAIN = "one number", "the same once more"  # the second shows how fine this run can see
OTHERS, OURS = "a vector, ComfyUI's blocks", "a vector, this pack"
DIFFUSERS = "a number for every token, diffusers"
MOST_TIME, MOST_MEMORY = 1.005, 1.01


def core_calls(wan, inputs, options: dict | None = None) -> dict:
    """The network called with one number, with a vector through its own blocks, and with a vector as this pack does it.

    Args:
        options: transformer options for all three.
    """
    options = options or {}
    modulation = pack_module("pusa_model.network.modulation")

    def ours():
        replaced = dict(options)
        modulation.add_replacements(replaced, modulation.frame_blocks(wan.network))
        return wan.network(inputs.x, inputs.vector, inputs.context, transformer_options=replaced)

    return {
        CORE: lambda: wan.network(inputs.x, inputs.scalar, inputs.context, transformer_options=dict(options)),
        OTHERS: lambda: wan.network(inputs.x, inputs.vector, inputs.context, transformer_options=dict(options)),
        OURS: ours,
    }


def diffusers_network(wan):
    """diffusers' WanTransformer3DModel with the same weights on the same device; words if there can be none."""
    try:
        from diffusers import WanTransformer3DModel
        from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
    except ImportError:
        return "diffusers is not installed"
    if wan.dtype.itemsize == 1:
        return "diffusers has no fp8 weights of this kind"
    shape, text_width = wan.shape, wan.network.text_embedding[0].in_features
    network = WanTransformer3DModel(
        num_attention_heads=shape["num_heads"],
        attention_head_dim=shape["dim"] // shape["num_heads"],
        in_channels=16,
        out_channels=16,
        text_dim=text_width,
        freq_dim=256,
        ffn_dim=shape["ffn_dim"],
        num_layers=shape["num_layers"],
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
    )
    network.load_state_dict(convert_wan_transformer_to_diffusers(dict(wan.weights)))
    network = network.eval() if wan.dtype == torch.float32 else network.eval().to(wan.dtype)
    try:
        return network.to(wan.model.load_device)
    except torch.OutOfMemoryError:
        return "no memory for a second network"


def diffusers_call(network, inputs):
    """One call of it, with the timestep of its frame for every token."""
    tokens = inputs.vector.repeat_interleave(inputs.x.shape[-2] * inputs.x.shape[-1] // 4, dim=1)
    return lambda: network(inputs.x, tokens, inputs.context, return_dict=False)[0]


def tables(arguments):
    """All tables, over every size and dtype of this machine's plan."""
    from .measure import networks

    scalar, other, limits, reserved = [], [], [], []
    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    for wan, size in networks.measured(plan):
        inputs = wan.inputs(size)
        calls = core_calls(wan, inputs)
        calls[AGAIN] = calls[CORE]
        network = diffusers_network(wan)
        if not isinstance(network, str):
            calls[DIFFUSERS] = diffusers_call(network, inputs)
            try:
                calls[DIFFUSERS]()
            except torch.OutOfMemoryError:
                network = "not enough memory"
                del calls[DIFFUSERS]
        memory = peaks(calls, allocated, rounds=2)
        times = interleaved(calls, least=arguments.rounds, products=True)
        place = f"{wan}, {size}"
        for row in (CORE, AGAIN, OTHERS, OURS):
            cells = [*report.fine_cells(times, row), *memory_cells(memory, row)]
            scalar.append([place if row == CORE else "", row, *cells])
        other.append([place, OURS, *time_cells(times, OURS, OURS), *memory_cells(memory, OURS, OURS)])
        told = [network] + [""] * 4
        if DIFFUSERS in calls:
            told = [*time_cells(times, DIFFUSERS, OURS), *memory_cells(memory, DIFFUSERS, OURS)]
        other.append(["", DIFFUSERS, *told])
        share, doubt = times.judged(OURS)
        limits.append(Limit(f"{place}: time of a vector to that of one number", share, MOST_TIME, doubt))
        if (share := memory_ratio(memory, OURS)) is not None:
            limits.append(Limit(f"{place}: its peak memory to that of one number", share, MOST_MEMORY))
        reserved.append(estimate(wan, inputs, memory[OURS]))
    heads = ["", "timestep", *FINE_HEADS, *MEMORY_HEADS]
    yield Table("One model call: a vector against one number", heads, scalar, tuple(limits), tuple(reserved))
    yield Table("One model call: this pack against diffusers", ["", "timestep", *TIME_HEADS, *MEMORY_HEADS], other)


def estimate(wan, inputs, peak: int | None) -> str:
    """What ComfyUI's memory manager keeps free for such a call, beside what it takes."""
    reserved = wan.model.memory_required(list(inputs.x.shape)) / 2**20
    taken = report.UNKNOWN if peak is None else f"{peak / 2**20:.0f} MiB"
    return f"{wan}, latent {tuple(inputs.x.shape[2:])}: ComfyUI keeps {reserved:.0f} MiB free for a call, a vector takes {taken}."


if __name__ == "__main__":
    sys.exit(report.main("timesteps", __doc__, tables, sys.argv[1:]))
