"""A whole image-to-video run of this pack, beside a text-to-video run of ComfyUI's KSampler on the same model, steps and size."""

import sys

import torch

from hosting.process import pack_module

from .measure.peaks import allocated, peaks
from .measure.report import FINE_HEADS, MEMORY_HEADS, Limit, Table, fine_cells, main, memory_cells
from .measure.side_by_side import interleaved

STEPS, CFG, SHIFT = 2, 3.0, 5.0
CORE, OURS = "text to video, KSampler", "image to video, KSampler (Pusa)"
MOST_TIME = 1.01


def settings() -> dict:
    """What both samplers are told."""
    return dict(seed=0, steps=STEPS, cfg=CFG, sampler_name="euler", scheduler="simple", denoise=1.0)


def empty_latent(size: tuple) -> dict:
    """LATENT dict of a video without content, for (T, h, w)."""
    return {"samples": torch.zeros(1, 16, *size)}


def first_frames(latent: dict, count: int):
    """A condition of clean random latents, spread evenly from the first frame on."""
    condition = pack_module("pusa_model.condition").Condition
    samples = latent["samples"]
    places = [index * samples.shape[2] // count for index in range(count)]
    frames = torch.randn(samples[:, :, :count].shape, generator=torch.Generator().manual_seed(1))
    return condition.empty(samples).add(frames, places, [0.0] * count)


def core_run(model, words, latent: dict, **changes):
    """ComfyUI's KSampler node, on a model that carries the shift."""
    import nodes

    model = pack_module("pusa_model.sampling").with_shift(model, SHIFT)
    told = settings() | changes
    return lambda: nodes.common_ksampler(model, positive=words, negative=words, latent=latent, **told)[0]["samples"]


def our_run(model, words, latent: dict, condition, **changes):
    """The sampler of this pack."""
    sample, told = pack_module("pusa_model.sampling").sample, settings() | {"shift": SHIFT} | changes
    silent = {"warn": lambda text: None}
    return lambda: sample(model, words, words, latent, condition=condition, **told, **silent)["samples"]


def words_of(inputs) -> list:
    """CONDITIONING of the features that the network is measured with."""
    return [[inputs.context.float().cpu(), {}]]


def tables(arguments):
    """The table, over every size and dtype of this machine's plan."""
    from .measure import networks

    rows, limits = [], []
    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    for wan, size in networks.measured(plan):
        words, latent = words_of(wan.inputs(size)), empty_latent(networks.SIZES[size])
        calls = {
            CORE: core_run(wan.model, words, latent),
            OURS: our_run(wan.model, words, latent, first_frames(latent, 1)),
        }
        memory = peaks(calls, allocated, rounds=2)
        times = interleaved(calls, least=arguments.rounds, products=True)
        place = f"{wan}, {size}"
        for name in calls:
            rows.append([place if name == CORE else "", name, *fine_cells(times, name), *memory_cells(memory, name)])
        share, doubt = times.judged(OURS)
        limits.append(Limit(f"{place}: time of image to video to that of text to video", share, MOST_TIME, doubt))
    title = f"A whole run: {STEPS} steps, cfg {CFG:g}, euler"
    yield Table(title, ["", "run", *FINE_HEADS, *MEMORY_HEADS], rows, tuple(limits))


if __name__ == "__main__":
    sys.exit(main("runs", __doc__, tables, sys.argv[1:]))
