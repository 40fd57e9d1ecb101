"""ComfyUI's attention functions, as far as this machine runs them, and what a vector of timesteps costs and changes with each."""

import logging
import sys

import torch

from .measure.report import FINE_HEADS, UNKNOWN, Table, fine_cells, main
from .measure.side_by_side import interleaved
from .timesteps import CORE, OTHERS, OURS, core_calls

FLAGS = {
    "pytorch": "--use-pytorch-cross-attention",
    "sub_quad": "--use-quad-cross-attention",
    "split": "--use-split-cross-attention",
    "sage": "--use-sage-attention",
    "flash": "--use-flash-attention",
    "xformers": "when it is installed",
    "sage3": "none; node packs choose it",
    "basic": "none",
}


def functions() -> dict:
    """Attention functions by the names that ComfyUI registers them under, PyTorch's first, and the plain one."""
    from comfy.ldm.modules import attention

    return {"pytorch": attention.attention_pytorch, **attention.REGISTERED_ATTENTION_FUNCTIONS, "basic": attention.attention_basic}


def choose(function):
    """Transformer options that make ComfyUI use this attention function, as node packs do it."""
    return {"optimized_attention_override": lambda default, *args, **kwargs: function(*args, **kwargs)}


def tables(arguments):
    """One row for each attention function on the first size of this machine's plan."""
    from .measure import networks

    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    wan = networks.Wan(plan.width, plan.layers, plan.dtypes[0])
    inputs, rows, first = wan.inputs(plan.sizes[0]), [], None
    for name, function in functions().items():
        calls = core_calls(wan, inputs, choose(function))
        try:
            stock, ours = calls.pop(OTHERS)(), calls[OURS]()
        except torch.OutOfMemoryError:
            rows.append([name, FLAGS.get(name, UNKNOWN), "not enough memory", *[""] * 5])
            continue
        times = interleaved(calls, least=arguments.rounds, products=True)
        first = first or times.median(CORE)
        change = "none" if torch.equal(stock, ours) else f"{(stock - ours).abs().max():.1e}"
        rows.append([name, FLAGS.get(name, UNKNOWN), f"{times.median(CORE) / first:.2f}", *fine_cells(times, OURS), change])
    heads = ["attention", "flag", "time to pytorch", *FINE_HEADS, "change of the output"]
    notes = (
        f"Ratio and rounds: {OURS}, against {CORE}. Change: the largest, against ComfyUI's own blocks with the same vector.",
        "flash, sage and xformers are in the table where they are installed and there is a GPU.",
    )
    yield Table(f"Attention: {wan}, {plan.sizes[0]}", heads, rows, (), notes)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main("attention", __doc__, tables, sys.argv[1:]))
