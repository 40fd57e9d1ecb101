"""Where the time of a training step goes: the passes through the network, and everything else, by hooks in one run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import optimizer as optimizers

from hosting.process import pack_module

from ..measure.report import Limit, Table
from ..measure.side_by_side import synchronize, uncertainty

BATCHES = {1: 40, 4: 20, 16: 10}  # clips of a step of the embedded model: steps
WIDE, WIDE_STEPS = "1.3B", 6  # a network of some blocks of that width, a clip a step
BLOCKS, WIDE_CLIP = 4, (16, 5, 16, 16)
FIRST = 3  # steps that are not counted
RANK, CLIPS = 32, 32
MOST = 0.06
PASSES, REST = ("forward", "backward"), ("reading", "optimiser")


class Clock(AbstractContextManager):
    """Seconds of the parts of a step, told apart by hooks of PyTorch on the network and its optimiser.

    The backward pass begins behind the last tensor that the loss keeps for it, so that autograd's walk over the graph is in it, and
    ends where the optimiser begins, so that the graph is freed in it. The loss is none of the passes, but for its gradient.
    """

    def __init__(self, network: torch.nn.Module):
        self.parts: dict[str, float] = defaultdict(float)
        self._began: dict[str, float] = {}
        self._handles = [
            network.register_forward_pre_hook(lambda *_: self.begin("forward")),
            network.register_forward_hook(lambda *_: self._forward_done()),
            optimizers.register_optimizer_step_pre_hook(lambda *_: self._backward_done()),
            optimizers.register_optimizer_step_post_hook(lambda *_: self.end("optimiser")),
        ]
        self._kept = ExitStack()

    def __exit__(self, *exception) -> None:
        self._kept.close()  # open where a step has failed behind the forward pass
        for handle in self._handles:
            handle.remove()

    def begin(self, part: str) -> None:
        """A part begins."""
        synchronize()
        self._began[part] = time.perf_counter()

    def end(self, part: str) -> None:
        """It ends."""
        synchronize()
        self.parts[part] += time.perf_counter() - self._began.pop(part)

    def taken(self) -> dict[str, float]:
        """Seconds of each part since the last call."""
        found, self.parts = dict(self.parts), defaultdict(float)
        return found

    def _forward_done(self) -> None:
        self.end("forward")
        self._kept.enter_context(saved_tensors_hooks(self._keep, lambda tensor: tensor))

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        self.begin("backward")
        return tensor

    def _backward_done(self) -> None:
        self._kept.close()
        self.end("backward")
        self.begin("optimiser")


class Timed:
    """A data set whose batches a clock counts as reading."""

    def __init__(self, dataset, clock: Clock):
        self.dataset, self.clock = dataset, clock

    def __getattr__(self, name: str):
        return getattr(self.dataset, name)

    def batch(self, indices):
        self.clock.begin("reading")
        found = self.dataset.batch(indices)
        self.clock.end("reading")
        return found


def embedded() -> torch.nn.Module:
    """The embedded model with a LoRA."""
    ship = pack_module("training.nano.ship")
    network = pack_module("training.method.network").load_base(ship.FOLDER / ship.PLACES["base"]).network.float()
    pack_module("training.method.lora").add_lora(network, RANK)
    return network


def run(folder: Path, network: torch.nn.Module, batch: int, steps: int) -> list[dict[str, float]]:
    """Seconds of each step by its parts, ``all`` among them; the clips are read from a store."""
    loop, log = (pack_module(f"training.{name}") for name in ("loop", "watch.log"))
    settings = pack_module("training.settings").Settings(
        steps=steps, batch_size=batch, mixed_precision="no", save_every=0, caption_dropout=0.1
    )
    found, written = [], log.Log(folder, 0)
    with Clock(network) as clock:
        began = time.perf_counter()

        def note(step: int, loss: float, rate: float, validation: dict | None) -> None:
            nonlocal began
            written.step(step, loss, rate, validation)
            now = time.perf_counter()
            found.append(clock.taken() | {"all": now - began})
            began = now

        dataset = Timed(pack_module("training.data.encoded").EncodedDataset(folder / "store"), clock)
        loop.train(network, dataset, settings, on_step=note, show=False)
    return found[FIRST:]


def make_store(folder: Path, shape: tuple[int, ...] = (16, 9, 8, 8), embed: Callable[[str], torch.Tensor] | None = None) -> Path:
    """Clips and prompts, by default those of the embedded model; returns the folder."""
    words, world = pack_module("training.nano.words"), pack_module("training.nano.world")
    latents, embed = torch.randn(CLIPS, *shape, generator=torch.Generator().manual_seed(0)), embed or words.embed
    with pack_module("training.store").StoreWriter(folder / "store") as writer:
        writer.add_prompt("", embed(""))
        for number, latent in enumerate(latents):
            caption = world.scene(number).caption
            writer.add(f"{number}.mp4", latent.half(), caption, embed(caption))
    return folder


def outside(step: dict[str, float]) -> float:
    """Everything but the passes, over the passes."""
    passes = sum(step[part] for part in PASSES)
    return step["all"] / passes - 1


def runs(folder: Path, quick: bool) -> dict[str, list[dict[str, float]]]:
    """The steps of each network and size of the batch, by what it is called."""
    from ..measure.networks import TEXT
    from .memory import network as random_network

    small = make_store(folder / "embedded")
    found = {f"batch {batch}": run(small, embedded(), batch, (3 if quick else steps) + FIRST) for batch, steps in BATCHES.items()}
    wide = make_store(folder / "wide", WIDE_CLIP, lambda caption: torch.randn(TEXT))
    network = random_network("narrow" if quick else WIDE, BLOCKS, "file")[0].float()
    name = f"{BLOCKS} blocks of the width of {WIDE}, batch 1"
    return found | {name: run(wide, network, 1, (2 if quick else WIDE_STEPS) + FIRST)}


def table(quick: bool) -> Table:
    """A row for each part, a column for each network and size of the batch."""
    with tempfile.TemporaryDirectory(prefix="pusa-steps-") as name:
        found = runs(Path(name), quick)
    what = "everything but forward and backward to the two"
    limits = [
        Limit(f"{what}, {name}", statistics.median(shares), MOST, uncertainty(shares))
        for name, steps in found.items()
        for shares in [[outside(step) for step in steps]]
    ]
    rows = [[part, *(_cell(steps, part) for steps in found.values())] for part in (*PASSES, *REST, "levels, noise, loss, table")]
    rows.append(["a step", *(f"{statistics.median(step['all'] for step in steps):.3g} s" for steps in found.values())])
    title = f"A training step: the embedded model with a LoRA of rank {RANK}, and a wider one; float32, clips read from a store"
    return Table(title, ["share of a step", *found], rows, tuple(limits), ("Medians over the steps of one run.",))


def _cell(steps: list[dict[str, float]], part: str) -> str:
    known = (*PASSES, *REST)
    shares = [step[part] / step["all"] if part in known else 1 - sum(step[each] for each in known) / step["all"] for step in steps]
    return f"{100 * statistics.median(shares):.1f} %"
