"""The training loop: draw, noise, predict, compare, step; checkpoints and progress on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object
from torch import Generator, Tensor
from torch.nn import Module, Parameter
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from ..schedulers import InputError
from .checkpoint import find_checkpoint, random_state, read_checkpoint, save_checkpoint, set_random_state
from .data.order import Order, generator
from .interrupt import Interrupt
from .method.network import training_mode, velocity
from .method.objective import loss, noised, target
from .method.timesteps import draw_levels
from .settings import Settings, check_same

RECENT = 50  # steps that the shown loss is the mean of
_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


@dataclass
class Result:
    """How a run went.

    Attributes:
        step: optimiser steps done, those before a resume included.
        losses: one per step, those before a resume included.
        interrupted: stopped by a signal; a checkpoint of ``step`` was written if there is a folder.
        validations: what the validation returned, by step (since the last resume).
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    interrupted: bool = False
    validations: dict[int, dict] = field(default_factory=dict)


def train(
    network: Module,
    dataset,
    settings: Settings,
    folder: str | Path | None = None,
    resume: str | Path | None = None,
    about: dict | None = None,
    optimizer: Callable[[Sequence[Parameter]], Optimizer] | None = None,
    levels: Callable[[Settings, int, int, Generator], Tensor] = draw_levels,
    validate: Callable[[Module, int], dict | None] | None = None,
    on_save: Callable[[Module, Result], None] | None = None,
    show: bool = True,
) -> Result:
    """Train the parameters of a network that require a gradient, in place.

    What a step sees and draws depends on the settings and the step alone, so a run that was stopped and resumed ends with
    the same bits as one that was not (on a GPU with ``deterministic``).

    Args:
        network: ComfyUI's WanModel; trained parameters in float32.
        dataset: ``EncodedDataset``, or anything with ``shapes``, ``batch(indices)``, ``empty`` and ``hash`` like it.
        folder: for checkpoints; None writes nothing.
        resume: ``auto``, the file of a checkpoint, or None for a new run.
        about: plain values that tell this network from others (base, rank); a resumed run must have the same.
        optimizer: makes the optimiser from the trained parameters; AdamW if None. Its learning rate follows the schedule.
        levels: draws the noise levels in place of ``draw_levels``.
        validate: called with the network and the step every ``validate_every`` steps; the numbers it returns are shown.
            Random numbers that it draws have no influence on the run.
        on_save: called with the network and the result so far, on the main process, before each checkpoint.
        show: a progress bar with loss, learning rate and time left.

    Raises:
        InputError: nothing to train, a checkpoint of another run, a loss that is not finite, or sharded multi-GPU training.
    """
    run = Run(network, dataset, settings, folder, about, optimizer, levels)
    start = find_checkpoint(run.folder, resume)
    if start is not None:
        run.restore(start)
    result = run.result
    bar = tqdm(total=settings.steps, initial=result.step, disable=not (show and run.accelerator.is_main_process), unit="step")
    extra: dict = {}
    with Interrupt() as interrupt, bar:
        while result.step < settings.steps and not result.interrupted:
            rate = run.step()
            recent = result.losses[-RECENT:]
            bar.set_postfix({"loss": f"{sum(recent) / len(recent):.4f}", "lr": f"{rate:.2g}"} | extra, refresh=False)
            bar.update()
            if validate and settings.validate_every and result.step % settings.validate_every == 0:
                extra = run.validate(validate) or {}
            last = result.step == settings.steps
            result.interrupted = run.agreed(interrupt.asked) and not last
            if last or result.interrupted or (settings.save_every and result.step % settings.save_every == 0):
                run.save(on_save)
    return result


class Run:
    """One run: what is trained, on what, and how far it is."""

    def __init__(self, network, dataset, settings, folder, about, optimizer, levels):
        self.accelerator = Accelerator(mixed_precision="no")  # `autocast` below sees to the precision
        if self.accelerator.distributed_type in _SHARDED:
            raise InputError(
                f"accelerate is set up for {self.accelerator.distributed_type.value}, which spreads the weights over processes. "
                "This trainer keeps them whole: choose plain multi-GPU in `accelerate config`."
            )
        self.settings, self.dataset, self.levels = settings, dataset, levels
        self.folder = Path(folder) if folder is not None else None
        self.about = about or {}
        self.network = network.to(self.accelerator.device)
        self.trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        wrong = [name for name, parameter in self.trained.items() if parameter.dtype != torch.float32]
        if wrong:
            raise InputError(f"trained parameters must be float32; {wrong[0]} is not.")
        if not self.trained:
            raise InputError("no parameter of the network is to be trained.")
        parameters = list(self.trained.values())
        self.optimizer = optimizer(parameters) if optimizer else _adamw(parameters, settings)
        self.wrapped = self.accelerator.prepare_model(network) if self.world > 1 else network
        self.order = Order(dataset.shapes, settings.batch_size * self.world, settings.seed)
        self.result = Result()

    @property
    def world(self) -> int:
        """Processes that train together."""
        return self.accelerator.num_processes

    def step(self) -> float:
        """One optimiser step; returns its learning rate."""
        settings, step = self.settings, self.result.step
        rate = learning_rate(settings, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        with training_mode(), _deterministic(settings.deterministic):
            for part in range(settings.accumulate):
                partial = part + 1 < settings.accumulate and self.world > 1
                with self.accelerator.no_sync(self.wrapped) if partial else nullcontext():
                    value = self.loss(step * settings.accumulate + part) / settings.accumulate
                    value.backward()
                total += self.mean(value.detach())
        if not math.isfinite(total):
            raise InputError(
                f"the loss of step {step + 1} is {total}; the run has come apart. Go on from the last checkpoint with a lower "
                "`learning_rate`, a longer `warmup` or a `grad_clip`, and see that the data are finite."
            )
        if settings.grad_clip:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), settings.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.result.step += 1
        self.result.losses.append(total)
        return rate

    def loss(self, number: int) -> Tensor:
        """Loss of the batch with this number, of this process's share of it."""
        settings, rank, device = self.settings, self.accelerator.process_index, self.accelerator.device
        indices = self.order.batch(number)[rank * settings.batch_size : (rank + 1) * settings.batch_size]
        latents, context = self.dataset.batch(indices)
        draws = generator("draws", settings.seed, number, rank)
        sigma = self.levels(settings, latents.shape[0], latents.shape[2], draws).to(device)
        noise = torch.randn(latents.shape, generator=draws).to(device)
        context = drop_captions(context, self.dataset.empty, settings.caption_dropout, draws)
        latents = latents.to(device, torch.float32)
        dtype = torch.bfloat16 if settings.activations == "bf16" else torch.float32
        x, context = noised(latents, noise, sigma).to(dtype), context.to(device, dtype)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.mixed_precision == "bf16"):
            predicted = velocity(self.wrapped, x, sigma, context, settings.gradient_checkpointing)
        return loss(predicted, target(latents, noise), sigma, settings.weighting, settings.shift)

    def mean(self, value: Tensor) -> float:
        """A number averaged over the processes."""
        return (self.accelerator.reduce(value, "mean") if self.world > 1 else value).item()

    def agreed(self, asked: bool) -> bool:
        """Whether any process was asked."""
        return asked if self.world == 1 else self.mean(torch.tensor(float(asked), device=self.accelerator.device)) > 0

    def validate(self, function: Callable[[Module, int], dict | None]) -> dict | None:
        """Numbers of the validation, with the global random numbers left as they were."""
        state = random_state()
        try:
            numbers = function(self.network, self.result.step)
        finally:
            set_random_state(state)
        self.result.validations[self.result.step] = numbers or {}
        return numbers

    def save(self, then: Callable[[Module, Result], None] | None) -> None:
        """Write what the run leaves at this step, then, if there is a folder for it, a checkpoint, behind which a run goes on."""
        states = gather_object([random_state()]) if self.world > 1 else [random_state()]
        if self.accelerator.is_main_process and then is not None:
            then(self.network, self.result)
        if self.accelerator.is_main_process and self.folder is not None:
            content = {
                "settings": self.settings.as_dict(),
                "about": self.about,
                "dataset_hash": self.dataset.hash,
                "trained": {name: parameter.detach() for name, parameter in self.trained.items()},
                "optimizer": self.optimizer.state_dict(),
                "losses": self.result.losses,
                "random": states,
            }
            save_checkpoint(self.folder, self.result.step, content, self.settings.keep)
        self.accelerator.wait_for_everyone()

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of a run with other settings, data, network or processes.
        """
        content = read_checkpoint(path)
        check_same(self.settings, content["settings"])
        for name, here in (("about", self.about), ("dataset_hash", self.dataset.hash)):
            if content[name] != here:
                what = "data" if name == "dataset_hash" else "network"
                raise InputError(f"`resume`: {path.name} is of a run on another {what} ({content[name]} then, {here} now).")
        world = len(content["random"])
        if world != self.world:
            raise InputError(f"`resume`: {path.name} is of a run with {world} processes; this one has {self.world}.")
        if content["trained"].keys() != self.trained.keys():
            raise InputError(f"`resume`: {path.name} holds other trained parameters than this network has.")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(content["trained"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        self.result = Result(content["step"], content["losses"])
        set_random_state(content["random"][self.accelerator.process_index])


def learning_rate(settings: Settings, step: int) -> float:
    """Rate of a step counted from 0: an even rise over the warm-up, then the schedule, which would reach 0 after the last step."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    left = 1 - (step - settings.warmup) / (settings.steps - settings.warmup)
    return settings.learning_rate * (left if settings.lr_schedule == "linear" else math.sin(math.pi * left / 2) ** 2)


def drop_captions(context: Tensor, empty: Tensor | None, share: float, draws: Generator) -> Tensor:
    """Put the empty prompt, or zeros if there is none, in the place of some embeddings [B, L, width]."""
    if not share:
        return context
    dropped = torch.rand(context.shape[0], 1, 1, generator=draws) < share
    blank = torch.zeros_like(context[0])
    if empty is not None:
        rows = min(len(empty), len(blank))
        blank[:rows] = empty[:rows]
    return torch.where(dropped, blank, context)


def _adamw(parameters: Sequence[Parameter], settings: Settings) -> AdamW:
    return AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Only deterministic kernels inside, if they are wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
