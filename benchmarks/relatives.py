"""One call of relatives of Wan with a vector of timesteps, beside the same call with one number.

A vector reaches them in other ways than text-to-video: through exchanged forwards, beside references, in groups of tokens.
"""

import sys

from hosting.process import pack_module

from .measure import report
from .measure.peaks import allocated, peaks
from .measure.report import FINE_HEADS, MEMORY_HEADS, Limit, Table, memory_cells, memory_ratio
from .measure.side_by_side import MOST, interleaved
from .timesteps import AGAIN, CORE, OURS

MOST_TIME, MOST_MEMORY = 1.01, 1.02


def relative_calls(wan, inputs) -> dict:
    """A network of another kind with one number, and with a vector in the way in which it reaches that kind."""
    import comfy.model_management
    from comfy.patcher_extension import WrappersMP

    calls, modulation = pack_module("pusa_model.network.call"), pack_module("pusa_model.network.modulation")
    embedding, lookup = pack_module("pusa_model.families.time_embedding"), pack_module("pusa_model.families.lookup")
    record, model = lookup.network_record(wan.model), wan.model.clone()
    if record.one_number:
        embedding.exchange_forwards(model)
        modulation.exchange_vace_blocks(model)
        comfy.model_management.load_models_gpu([model], force_full_load=True)
    multipliers = (inputs.vector / inputs.scalar).clamp(0, 1)

    def per_frame(executor, x, timestep, context, clip_fea, time_dim_concat, transformer_options, **others):
        return calls.call_per_frame(executor, record, multipliers, x, timestep, transformer_options, {"context": context} | others)

    def call(wrappers):
        options = {"wrappers": {WrappersMP.DIFFUSION_MODEL: {"bench": wrappers}}}
        return wan.network(inputs.x, inputs.scalar, inputs.context, transformer_options=options, **inputs.beside)

    return {CORE: lambda: call([]), OURS: lambda: call([per_frame])}


def tables(arguments):
    """The ways to networks that take a vector differently: exchanged forwards, numbers for references, and for groups."""
    import comfy.model_management

    from .measure import networks

    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    rows, limits = [], []
    for name, kind in list(networks.RELATIVES.items())[: 1 if arguments.quick else None]:
        wan = networks.Wan(plan.width, plan.layers, plan.dtypes[0], kind)
        inputs = wan.inputs(plan.sizes[0])
        calls = relative_calls(wan, inputs)
        calls[AGAIN] = calls[CORE]
        memory = peaks(calls, allocated, rounds=2)
        most = arguments.rounds if arguments.quick else MOST
        times = interleaved(calls, least=arguments.rounds, most=most, products=not arguments.quick)
        place = f"{name}: {wan}, {inputs}"
        for row in (CORE, AGAIN, OURS):
            rows.append([place if row == CORE else "", row, *report.fine_cells(times, row), *memory_cells(memory, row)])
        share, doubt = times.judged(OURS)
        limits.append(Limit(f"{place}: time of a vector to that of one number", share, MOST_TIME, doubt))
        if (share := memory_ratio(memory, OURS)) is not None:
            limits.append(Limit(f"{place}: its peak memory to that of one number", share, MOST_MEMORY))
        comfy.model_management.unload_all_models()
    yield Table("One model call of the relatives of Wan", ["", "timestep", *FINE_HEADS, *MEMORY_HEADS], rows, tuple(limits))


if __name__ == "__main__":
    sys.exit(report.main("relatives", __doc__, tables, sys.argv[1:]))
