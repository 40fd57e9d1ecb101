"""What a run costs with more frames and with more conditions, beside ComfyUI's KSampler without any."""

import sys

from .measure.report import FINE_HEADS, Limit, Table, fine_cells, main
from .measure.side_by_side import Times, interleaved
from .runs import core_run, empty_latent, first_frames, our_run, words_of

LENGTHS = {21: 6, 41: 11, 81: 21, 161: 41}  # frames: latent frames
WINDOW, OVERLAP = 6, 1  # latent frames; a window covers 20 frames that no other does
COUNTS = (1, 4, 16)
ONE_STEP = {"steps": 1, "cfg": 1.0}
SIDE = {"narrow": 8, "1.3B": 24, "14B": 60}  # latent pixels of the square clips
CORE, OURS = "text to video", "image to video"
MOST_GROWTH = 1.02


def windowed(model):
    """The model with ComfyUI's context windows of a fixed length, without the extra frame before each window."""
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    return ContextWindowsManualNode.execute(
        model,
        context_length=WINDOW,
        context_overlap=OVERLAP,
        context_schedule="standard_static",
        context_stride=1,
        closed_loop=False,
        fuse_method="pyramid",
        dim=2,
        freenoise=False,
        causal_window_fix=False,
    )[0]


def by_length(model, words, side: int, least: int) -> dict[int, Times]:
    """Times of one step of both samplers for every length."""
    found = {}
    for frames, latents in LENGTHS.items():
        latent = empty_latent((latents, side, side))
        calls = {
            CORE: core_run(model, words, latent, **ONE_STEP),
            OURS: our_run(model, words, latent, first_frames(latent, 1), **ONE_STEP),
        }
        found[frames] = interleaved(calls, least=least, products=True)
    return found


def length_rows(found: dict[int, Times]) -> list[list[str]]:
    """A row for each length: our run."""
    return [[f"{frames}", *fine_cells(times, OURS)] for frames, times in found.items()]


def growth(model, words, side: int, least: int) -> tuple[float, float]:
    """Time of the longest clip to that of as many frames in the shortest ones, and how far it may be off."""

    def run(latents: int):
        latent = empty_latent((latents, side, side))
        return our_run(model, words, latent, first_frames(latent, 1), **ONE_STEP)

    short, long = run(LENGTHS[min(LENGTHS)]), run(LENGTHS[max(LENGTHS)])
    count = (max(LENGTHS) - 1) // (min(LENGTHS) - 1)
    calls = {f"{count} short clips": lambda: [short() for _ in range(count)], "a long one": long}
    return interleaved(calls, least=least, products=True).judged("a long one")


def tables(arguments):
    """One step by length, by length in windows, and by number of conditions; weights as in the other measurements."""
    from .measure import networks

    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    wan, side = networks.Wan(plan.width, plan.layers, plan.dtypes[0]), SIDE[plan.width]
    words = words_of(wan.inputs(plan.sizes[0]))
    what = f"{wan}, one step of {8 * side} x {8 * side} pixels"
    heads = ["frames", *FINE_HEADS]
    told = "The ratio is to ComfyUI's KSampler on the same latent, without a condition."
    yield Table(f"Length: {what}", heads, length_rows(by_length(wan.model, words, side, arguments.rounds)), (), (told,))

    model = windowed(wan.model)
    found = by_length(model, words, side, arguments.rounds)
    what_grows = f"Time of a clip of {max(LENGTHS)} frames to that of as many in clips of {min(LENGTHS)}"
    share, doubt = growth(model, words, side, arguments.rounds)
    limit = Limit(what_grows, share, MOST_GROWTH, doubt)
    title = f"Length in context windows of {WINDOW} latent frames, {OVERLAP} shared: {what}"
    yield Table(title, heads, length_rows(found), (limit,), (told,))

    latent = empty_latent((LENGTHS[81], side, side))
    calls = {"none": core_run(wan.model, words, latent, **ONE_STEP)}
    calls |= {str(count): our_run(wan.model, words, latent, first_frames(latent, count), **ONE_STEP) for count in COUNTS}
    times = interleaved(calls, least=arguments.rounds, products=True)
    rows = [[name, *fine_cells(times, name)] for name in calls]
    yield Table(f"Number of conditions in 81 frames: {what}", ["conditions", *FINE_HEADS], rows)


if __name__ == "__main__":
    sys.exit(main("length", __doc__, tables, sys.argv[1:]))
