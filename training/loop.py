"""The training loop: step, validate, save; what is told on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from comfy.model_management import InterruptProcessingException
from torch import Generator, Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer
from tqdm import tqdm

from .data.order import shares
from .keeping.checkpoint import find_checkpoint
from .keeping.interrupt import Interrupt
from .keeping.saving import Diverged, Saver
from .run import Result, Run
from .settings import Settings

RECENT = 50  # steps that the shown loss is the mean of


def train(
    network: Module,
    dataset,
    settings: Settings,
    folder: str | Path | None = None,
    resume: str | Path | None = None,
    about: dict | None = None,
    optimizer: Callable[[Sequence[Parameter]], Optimizer] | None = None,
    levels: Callable[[Settings, int, int, Generator], Tensor] | None = None,
    validate: Callable[[Module, int], dict | None] | None = None,
    on_save: Callable[[Module, Result], None] | None = None,
    on_step: Callable[[int, float, float, dict | None], bool | None] | None = None,
    show: bool = True,
) -> Result:
    """Train the parameters of a network that require a gradient, in place.

    What a step sees and draws depends on the settings and the step alone, so a run that was stopped and resumed ends with
    the same bits as one that was not (on a GPU with ``deterministic``).

    Args:
        network: ComfyUI's, out of ``load_base``; trained parameters in float32.
        dataset: ``EncodedDataset``, or anything with ``shapes``, ``batch(indices)``, ``empty`` and ``hash`` like it.
        folder: for checkpoints, the same for all processes; None writes nothing.
        resume: ``auto``, a checkpoint (a file, or a folder of parts), or None for a new run.
        about: plain values that tell this network from others (base, rank); a resumed run must have the same.
        optimizer: makes the optimiser from the trained parameters; AdamW if None. Its learning rate follows the schedule.
        levels: draws the noise levels in place of ``draw_levels`` for the family of the network.
        validate: called with the network and the step before the first step and every ``validate_every`` steps; the numbers it
            returns are shown. Random numbers that it draws have no influence on the run.
        on_save: called with the network and the result so far before each checkpoint, on the main process; on all of them where
            weights are spread over them, as it takes all to gather one.
        on_step: called on the main process after each step with its number, its loss, its learning rate and what a validation
            returned at it; before the first one if there is a validation, with a loss of NaN. If it returns True, the run stops
            there as it does at Ctrl-C: with a checkpoint.
        show: a progress bar with loss, learning rate and time left, and lines on what else there is to tell.

    Raises:
        InputError: nothing to train, a checkpoint of another run, a loss or weights that are not finite, several processes in a
            way that is not done here, or a last file that cannot be written. What is not saved yet is, before an error ends the
            run; over several processes, as far as one can alone.
    """
    run = Run(network, dataset, settings, folder, about, optimizer, levels)
    show = show and run.accelerator.is_main_process
    say = tqdm.write if show else lambda line: None
    start = find_checkpoint(run.folder, resume)
    changes = run.restore(start) if start is not None else []
    for change in changes:
        say(f"Changed on resume, at step {run.result.step}: {change}.")
    result = run.result
    if result.step >= settings.steps:
        say(f"Finished already at step {result.step}; `steps` is {settings.steps}. A larger number makes the run longer.")
        return result
    spread = ", weights spread over them (FSDP2)" if run.sharded else ""
    per_epoch = run.order.per_epoch / (settings.accumulate * run.world)
    sizes = f"{len(dataset.shapes)} clips: {shares(dataset.shapes)}"
    say(f"{sizes}; {per_epoch:g} steps show each once. Processes: {run.world}{spread}.")
    saver = Saver(run, on_save, say)
    bar = tqdm(total=settings.steps, initial=result.step, disable=not show, unit="step")
    extra: dict = {}
    note = on_step if on_step is not None and run.accelerator.is_main_process else lambda *_: None
    with Interrupt() as interrupt, bar:
        try:
            if validate and settings.validate_every and not result.step:
                extra = run.validate(validate) or {}
                note(0, math.nan, 0.0, extra)
            while result.step < settings.steps and not result.interrupted:
                rate = run.step()
                recent = result.losses[-RECENT:]
                shown = {name: f"{value:.4f}" for name, value in extra.items()}
                bar.set_postfix({"loss": f"{sum(recent) / len(recent):.4f}", "lr": f"{rate:.2g}"} | shown, refresh=False)
                bar.update()
                found = None
                if validate and settings.validate_every and result.step % settings.validate_every == 0:
                    extra = found = run.validate(validate) or {}
                asked = note(result.step, result.losses[-1], rate, found) or interrupt.asked
                last = result.step == settings.steps
                result.interrupted = run.agreed(asked) and not last
                if last or result.interrupted or (settings.save_every and result.step % settings.save_every == 0):
                    saver.save(must=last or result.interrupted)
        except Diverged:
            raise
        except (Exception, InterruptProcessingException):  # whatever it is: hours of work are not lost with it
            saver.rescue()
            raise
    return result
