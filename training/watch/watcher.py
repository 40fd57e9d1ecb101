"""What a run of the command line leaves on its way: trained files, the best of them, the table, trackers."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from torch.nn import Module

from ...schedulers import InputError
from ..method.network import Base, family_of
from ..options import DTYPES
from ..output import save_trained
from ..processes.sharded import is_spread
from ..run import Result
from ..settings import Settings
from .log import Log
from .trackers import start_trackers
from .validation import CLIPS, SCORE, ConditionalLoss


class Watcher:
    """The hooks of ``loop.train`` for one command line.

    Attributes:
        validation: for ``validate``; None without clips for it.
    """

    def __init__(self, arguments: Namespace, base: Base, about: dict, dataset, validation, settings: Settings, state, say):
        self.arguments, self.base, self.state, self.say = arguments, base, state, say
        self.lora = arguments.train_architecture == "lora"
        self.folder = Path(arguments.output)
        self.record = about | {"family": family_of(base.network).name, "dataset_hash": dataset.hash}
        self.record |= {"settings": settings.as_dict(), "processes": state.num_processes}
        kind = f"rank{about['rank']}" if self.lora else "full"
        self.name = f"pusa_{base.path.stem}_{kind}"
        self.written: list[Path] = []
        self.log: Log | None = None
        self.best = math.inf
        self.conditional = None
        if validation is not None:
            dtype = torch.bfloat16 if settings.activations == "bf16" else torch.float32
            autocast = settings.mixed_precision == "bf16"
            limit = arguments.validate_clips or CLIPS
            self.conditional = ConditionalLoss(
                validation, settings.batch_size, dtype, autocast, settings.blocks_on_cpu, limit=limit
            )
        self.validation = self._validate if self.conditional else None
        config = settings.as_dict() | about
        names = arguments.log_with if state.is_main_process else None
        self.trackers = start_trackers(names, self.folder, config) if names else []

    def save(self, network: Module, result: Result) -> None:
        """Write the trained file of a step."""
        path = self.folder / f"{self.name}_step{result.step:05}.safetensors"
        self._write(path, {"steps": result.step, "changes": result.changes})
        self.written += [path] * self.state.is_main_process

    def step(self, step: int, loss: float, rate: float, validation: dict | None) -> None:
        """Note a step in the table and with the trackers."""
        try:
            self._open(step - 1).step(step, loss, rate, validation)
        except (OSError, InputError) as error:  # a run is worth more than its table
            self.say(f"Warning: {self.folder}: the table of step {step} could not be written ({error}).")
        for tracker in self.trackers:
            values = {"loss": loss, "learning_rate": rate} if step else {}
            tracker.log(values | {f"validation/{name}": value for name, value in (validation or {}).items()}, step=step)

    def finish(self) -> None:
        """Draw the plot, end the trackers, and say where the last file goes."""
        for tracker in self.trackers:
            tracker.finish()
        try:
            if self.log is not None:
                self.log.plot()
        except InputError as error:
            self.say(f"Warning: {error}")
        for path in self.written[-1:]:
            self.say(f"{path}: put it into models/{'loras; strength 1 is what was trained' if self.lora else 'diffusion_models'}.")

    def _validate(self, network: Module, step: int) -> dict[str, float]:
        numbers = self.conditional(network, step)
        score = numbers.get(SCORE, numbers.get("t2v", math.inf))
        if self.state.is_main_process:
            self._open(step - 1)
        if self._agreed(bool(step) and score < self.best):
            try:
                self._write(self.folder / f"{self.name}_best.safetensors", {"steps": step, "validation": numbers})
            except InputError as error:
                self.say(f"Warning: {error}")
        self.best = min(self.best, score)
        return numbers

    def _agreed(self, better: bool) -> bool:
        """Whether this process takes part in writing the best file: the main one says so, and where weights are spread, all do."""
        if not is_spread(self.state.num_processes):
            return better and self.state.is_main_process
        return broadcast_object_list([better])[0]

    def _open(self, step: int) -> Log:
        """The table; where a run goes on, with the rows up to its step, and the best of their validations."""
        if self.log is None:
            self.log = Log(self.folder, step)
            self.best = min((float(row[SCORE]) for row in self.log.rows if row[SCORE]), default=math.inf)
        return self.log

    def _write(self, path: Path, further: dict) -> None:
        write = self.state.is_main_process
        save_trained(path, self.base, self.record | further, DTYPES[self.arguments.save_dtype], self.lora, write)
