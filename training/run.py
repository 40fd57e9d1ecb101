"""One training run: what is trained, on what, how far it is, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Generator, Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from ..schedulers import InputError
from .data.order import Order, generator
from .keeping.checkpoint import check_same_run, random_state, read_checkpoint, set_random_state
from .keeping.parts import load_parts
from .keeping.saving import Diverged
from .memory.optimizers import make_optimizer, set_rate
from .memory.placing import activations, place
from .memory.quantised import base_dtype_of
from .method.average import Average
from .method.network import family_of, training_mode, velocity
from .method.objective import loss, noised, target
from .method.schedule import learning_rate
from .method.timesteps import draw_levels
from .processes.sharded import check_launch, is_spread, parted, parted_state, shard, take_deepspeed
from .settings import check_family


@dataclass
class Result:
    """How a run went.

    Attributes:
        step: optimiser steps done, those before a resume included.
        losses: one per step, those before a resume included.
        interrupted: stopped by a signal or by ``on_step``; a checkpoint of ``step`` was written if there is a folder.
        validations: what the validation returned, by step (since the last resume).
        changes: what was changed where the run was resumed: ``{"step": 300, "changed": ["learning_rate (0.001 then, ...)"]}``.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    interrupted: bool = False
    validations: dict[int, dict] = field(default_factory=dict)
    changes: list[dict] = field(default_factory=list)


class Run:
    """One run; the arguments are those of ``loop.train``."""

    def __init__(self, network, dataset, settings, folder, about, optimizer, levels):
        self.family = family_of(network)
        check_family(settings, self.family)
        held = base_dtype_of(network)
        if held != settings.base_dtype:
            raise InputError(f"`base_dtype` is {settings.base_dtype}, but the base of this network is loaded as {held}.")
        take_deepspeed()
        check_launch(settings)
        # As views, or gradients are there twice. Where empty prompts have no token, the layers of the text may see no gradient.
        views = DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=self.family.masked)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[views])  # `autocast` below sees to the precision
        self.sharded = is_spread(self.world)
        self.settings, self.dataset = settings, dataset
        self.levels = levels or partial(draw_levels, family=self.family)
        self.folder = Path(folder) if folder is not None else None
        self.about = about or {}
        if self.sharded:
            shard(network, self.accelerator.device, blocks=not self.family.own_forward)
        else:
            place(network, self.accelerator.device, settings.blocks_on_cpu)
        self.network = network
        self.trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        wrong = [name for name, parameter in self.trained.items() if parameter.dtype != torch.float32]
        if wrong:
            raise InputError(f"trained parameters must be float32; {wrong[0]} is not.")
        if not self.trained:
            raise InputError("no parameter of the network is to be trained.")
        parameters = list(self.trained.values())
        self.own_optimizer = optimizer is not None
        self.optimizer = optimizer(parameters) if optimizer else make_optimizer(parameters, settings)
        self.average = Average(self.trained, settings.ema) if settings.ema else None
        self.wrapped = self._distributed() if self.world > 1 and not self.sharded else network
        self.order = Order(dataset.shapes, settings.batch_size, settings.seed)
        self.result = Result()
        self.state_before: dict = {}

    def _distributed(self) -> Module:
        """The network in PyTorch's DistributedDataParallel, which sees the trained weights only: every process loads the base."""
        others = {name for name, _ in (*self.network.named_parameters(), *self.network.named_buffers())} - self.trained.keys()
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.network, sorted(others))
        return self.accelerator.prepare_model(self.network, device_placement=False)

    @property
    def world(self) -> int:
        """Processes that train together."""
        return self.accelerator.num_processes

    def step(self) -> float:
        """One optimiser step; returns its learning rate."""
        settings, step = self.settings, self.result.step
        self.state_before = random_state()
        rate = learning_rate(settings, step)
        set_rate(self.optimizer, rate)
        passes = settings.accumulate * self.world
        clips = sum(len(self.order.batch(number)) for number in range(step * passes, (step + 1) * passes))
        total = 0.0
        with training_mode(), _deterministic(settings.deterministic):
            for part in range(settings.accumulate):
                partial = part + 1 < settings.accumulate and self.world > 1
                number = step * settings.accumulate + part
                with self._alone() if partial else nullcontext():
                    value = self.loss(number) / (clips / (self.world * len(self.clips(number))))  # every clip counts the same
                    value.backward()
                total += self.mean(value.detach())
                del value  # and its graph, before the next pass makes another
        if not math.isfinite(total):
            raise Diverged(
                f"the loss of step {step + 1} is {total}; the run has come apart. Go on from the last checkpoint (`resume` auto) "
                "with a lower `learning_rate`, a longer `warmup` or a `grad_clip`, and see that the data are finite."
            )
        if settings.grad_clip:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), settings.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.result.step += 1
        if self.average is not None:
            self.average.update(self.result.step)
        self.result.losses.append(total)
        return rate

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it gradients are not exchanged between the processes."""
        if not self.sharded:
            with self.accelerator.no_sync(self.wrapped):
                yield
            return
        self.network.set_requires_gradient_sync(False)
        yield
        self.network.set_requires_gradient_sync(True)

    def clips(self, number: int) -> list[int]:
        """The clips that this process sees in the forward pass with this number."""
        return self.order.batch(number * self.world + self.accelerator.process_index)

    def loss(self, number: int) -> Tensor:
        """Mean loss of the clips of the forward pass with this number, of this process's share of it."""
        settings, device = self.settings, self.accelerator.device
        latents, context = self.dataset.batch(self.clips(number))
        draws = generator("draws", settings.seed, number * self.world + self.accelerator.process_index, 0)
        sigma = self.levels(settings, latents.shape[0], latents.shape[2], draws).to(device)
        noise = torch.randn(latents.shape, generator=draws).to(device)
        context = drop_captions(context, self.dataset.empty, settings.caption_dropout, draws)
        latents = latents.to(device, torch.float32)
        dtype = torch.bfloat16 if settings.activations == "bf16" else torch.float32
        x, context = noised(latents, noise, sigma).to(dtype), context.to(device, dtype)
        offload = activations(settings.offload_activations, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.mixed_precision == "bf16"), offload:
            predicted = velocity(self.wrapped, x, sigma, context, settings.gradient_checkpointing, settings.blocks_on_cpu)
        return loss(predicted, target(latents, noise, self.family), sigma, settings.weighting, settings.shift)

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
            with self.averaged():
                numbers = function(self.network, self.result.step)
        finally:
            set_random_state(state)
        self.result.validations[self.result.step] = numbers or {}
        return numbers

    def averaged(self) -> AbstractContextManager:
        """Within it the network has the weights that are saved: the running mean, if there is one."""
        return self.average.applied() if self.average is not None else nullcontext()

    def state(self) -> dict:
        """Trained weights and the optimiser's state; where they are spread, of this process the part that it has."""
        found = {name: parameter.detach() for name, parameter in self.trained.items()}
        return {"trained": found, "optimizer": self.optimizer.state_dict()}

    def restore(self, path: Path) -> list[str]:
        """Go on from a checkpoint; returns what has changed since, in words.

        Over another number of processes a step sees as many clips more or less, so the bits are not those of the run as it was.

        Raises:
            InputError: it is of a run with other settings, data or network.
        """
        content = read_checkpoint(path, mapped=self.accelerator.device.type != "cpu")
        changes = check_same_run(path, content, self.settings, self.about, self.dataset)
        world = len(content["random"])
        if world != self.world:
            changes.append(f"processes ({world} then, {self.world} now)")
        self.optimizer.load_state_dict(self._take(path, content))
        for group in [] if self.own_optimizer else self.optimizer.param_groups:
            group["weight_decay"] = self.settings.weight_decay
        if self.average is not None:
            self.average.load(content["average"])
        self.result = Result(content["step"], content["losses"], changes=content["changes"])
        if changes:
            self.result.changes = [*content["changes"], {"step": content["step"], "changed": changes}]
        set_random_state(content["random"][min(self.accelerator.process_index, world - 1)])
        return changes

    def _take(self, path: Path, content: dict) -> dict:
        """Fill the trained weights from a checkpoint; returns the optimiser's state in it."""
        if path.is_dir():
            return load_parts(path, content, self.trained)
        if content["trained"].keys() != self.trained.keys():
            raise InputError(f"`resume`: {path.name} holds other trained parameters than this network has.")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(parted(content["trained"][name], parameter))
        state = content["optimizer"]
        return parted_state(state, list(self.trained.values())) if self.sharded else state


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


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Only deterministic kernels inside, if they are wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
