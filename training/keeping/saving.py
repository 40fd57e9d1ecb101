"""What a run writes on its way: what the caller wants of it first, then its checkpoint, behind which a run goes on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils import gather_object

from ...schedulers import InputError
from ..processes.sharded import local
from .checkpoint import order_hash, random_state, save_checkpoint
from .parts import save_parts


class Diverged(InputError):
    """Numbers of a run are no longer finite. What it holds is not worth keeping."""


class Saver:
    """Writes a run (``training.run.Run``) at its present step.

    Args:
        then: called with the network and the result before each checkpoint, on the main process; on all where weights are spread.
        say: told, in words, of what could not be written.
    """

    def __init__(self, run, then: Callable | None, say: Callable[[str], None]):
        self.run, self.then, self.say = run, then, say
        self.tried = run.result.step  # newest step that was written, or was tried to be

    def save(self, must: bool) -> None:
        """Write both; one that cannot be written does not keep the other from being tried.

        Args:
            must: whether the run ends here, so that a failure is an error; else it is told, and the run goes on.

        Raises:
            InputError: a trained weight is not finite (then nothing is written), or ``must`` and a file cannot be written.
        """
        run = self.run
        self.check_finite()
        self.tried = run.result.step
        states = gather_object([random_state()]) if run.world > 1 else [random_state()]
        failures = self._write(states) if run.accelerator.is_main_process or run.sharded else []
        if run.world > 1:  # which also waits for all of them
            failures = list(dict.fromkeys(gather_object(failures)))
        if failures and must:
            raise InputError(" ".join(failures))
        for failure in failures:
            self.say(f"Warning: {failure} The run goes on, and tries again at the next save.")

    def rescue(self) -> None:
        """Write what a run holds that ends with an error, if that is newer than what is written.

        The state of the random numbers is that of the beginning of the step that failed. Over several processes, which cannot
        be asked any more, there is no checkpoint; where weights are spread over them, there is nothing.
        """
        run, saved = self.run, self.tried
        if run.result.step <= saved or not run.accelerator.is_main_process:
            return
        alone = f"The error below ends the run over {run.world} processes, which a checkpoint needs all, so "
        if run.sharded:
            self.say(f"{alone}nothing after step {saved} is saved. `resume` auto goes on from the last checkpoint.")
            return
        try:
            self.check_finite()
        except Diverged:
            return
        self.tried = run.result.step
        failures = self._write([run.state_before] if run.world == 1 else None)
        for failure in failures:
            self.say(f"Warning: {failure}")
        if run.world > 1:
            written = f" What step {run.result.step} has made is in the trained file." if self.then and not failures else ""
            self.say(f"{alone}there is none of what came after step {saved}.{written}")
        elif not failures:
            self.say(f"What {run.result.step} steps have made was saved before the error below ends the run.")

    def check_finite(self) -> None:
        """Refuse to write weights that a bad step has spoiled.

        Raises:
            Diverged: names the first of them.
        """
        parts = {name: local(parameter.detach()) for name, parameter in self.run.trained.items()}
        bad = [name for name, part in parts.items() if not torch.isfinite(part.sum()) and not torch.isfinite(part).all()]
        if self.run.agreed(bool(bad)) if self.run.sharded else bad:
            first = bad[0] if bad else "in another process"
            raise Diverged(
                f"after step {self.run.result.step} the weights are not finite numbers (first: {first}), so they are not saved. "
                "Go on from the last checkpoint (`resume` auto) with a lower `learning_rate`, a longer `warmup` or a `grad_clip`."
            )

    def _write(self, states: list | None) -> list[str]:
        """Write what there is to write; returns what went wrong, in words."""
        run, failures = self.run, []
        parts = [self._call] if self.then is not None else []
        if run.folder is not None and states is not None:
            content = self._content(states)
            write = save_parts if run.sharded else save_checkpoint
            parts.append(lambda: write(run.folder, run.result.step, content, run.settings.keep))
        for part in parts:
            try:
                part()
            except InputError as error:
                failures.append(str(error))
        return failures

    def _call(self) -> None:
        with self.run.averaged():
            self.then(self.run.network, self.run.result)

    def _content(self, states: list) -> dict:
        run = self.run
        return {
            "settings": run.settings.as_dict(),
            "about": run.about,
            "dataset_hash": run.dataset.hash,
            "order": order_hash(run.dataset.shapes),
            "losses": run.result.losses,
            "changes": run.result.changes,
            "random": states,
            **run.state(),
        } | ({"average": run.average.mean} if run.average is not None else {})
