"""What a frozen base in 8 or 4 bits costs a LoRA: losses of the embedded model on scenes that it has not seen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from hosting.process import pack_module

from ..measure.report import Limit, Table

RANK, STEPS, SCENES = 16, 50, 16


class Scenes:
    """Scenes of the embedded model's world: some to train on, and others, with fixed noise and levels, to judge on."""

    def __init__(self, count: int):
        ship, data = pack_module("training.nano.ship"), pack_module("training.data.encoded")
        codec = pack_module("training.nano.quality.evaluate").Codec(ship.FOLDER).network
        (seen, told), (self.clean, self.context) = (_encoded(codec, split, count) for split in ("train", "held-out"))
        self.clips = data.EncodedDataset.from_tensors(seen, told, list(range(count)))
        draws = torch.Generator().manual_seed(0)
        self.noise = torch.randn(self.clean.shape, generator=draws)
        self.sigma = torch.rand(self.clean.shape[0], self.clean.shape[2], generator=draws)

    def judged(self, network: Module) -> tuple[float, Tensor]:
        """Mean squared error of the velocity, and its gradients by the LoRA as one vector."""
        method, objective = (pack_module(f"training.method.{name}") for name in ("network", "objective"))
        with method.training_mode():
            said = method.velocity(network, objective.noised(self.clean, self.noise, self.sigma), self.sigma, self.context, True)
            loss = (said - objective.target(self.clean, self.noise)).square().mean()
            parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
            found = torch.autograd.grad(loss, parameters)
        return loss.item(), torch.cat([each.flatten() for each in found])


def _encoded(codec: Module, split: str, count: int) -> tuple[Tensor, Tensor]:
    latents, words, world = (pack_module(f"training.nano.{name}") for name in ("latents", "words", "world"))
    clean = latents.encode_scenes(codec, range(count), split, torch.float32).float()
    return clean, torch.stack([words.embed(world.scene(seed, split).caption) for seed in range(count)])


def embedded(base_dtype: str) -> Module:
    """The embedded model, its base held so, with a LoRA that says nothing yet."""
    ship = pack_module("training.nano.ship")
    network = pack_module("training.method.network").load_base(ship.FOLDER / ship.PLACES["base"], base_dtype=base_dtype).network
    pack_module("training.method.lora").add_lora(network, RANK)
    return network


def measured(kind: str, scenes: Scenes, steps: int, expected: Tensor | None) -> tuple[list[float], Tensor]:
    """Loss before, cosine of the gradients to those that are expected, loss after training, and that on the base of the file."""
    settings = pack_module("training.settings").Settings(
        steps=steps, batch_size=4, learning_rate=1e-3, mixed_precision="no", save_every=0, base_dtype=kind
    )
    network, whole = embedded(kind), embedded("file")
    before, gradients = scenes.judged(network)
    pack_module("training.loop").train(network, scenes.clips, settings, show=False)
    weights = dict(whole.named_parameters())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                weights[name].copy_(parameter)
    cosine = torch.nn.functional.cosine_similarity(gradients, gradients if expected is None else expected, dim=0).item()
    return [before, cosine, scenes.judged(network)[0], scenes.judged(whole)[0]], gradients


def table(quick: bool) -> Table:
    """A row for each way to hold the base."""
    most = pack_module("training.memory.quantised").LOSES
    scenes, steps = Scenes(2 if quick else SCENES), 1 if quick else STEPS
    expected, losses, rows = None, {}, []
    for kind in ("file", *most):
        numbers, gradients = measured(kind, scenes, steps, expected)
        expected = gradients if expected is None else expected
        losses[kind] = numbers[0]
        rows.append([kind, *(f"{number:.3f}" for number in numbers)])
    limits = [
        Limit(f"how far the loss before is from that of the file, {kind}", abs(losses[kind] / losses["file"] - 1), share)
        for kind, share in most.items()
    ]
    heads = ["--base_dtype", "loss before", "cosine of the gradients", f"after {steps} steps", "the same LoRA on the file's base"]
    title = f"A frozen base in few bits: the embedded model, LoRA of rank {RANK}, {len(scenes.clean)} scenes that it has not seen"
    return Table(title, heads, rows, tuple(limits))
