"""The conditional validation loss: what given frames are used for, on clips that are held out of training.

The training loss is a mean over random levels and has no trend that can be read. Here clips, noise and levels are the same at
every call, and some frames are given clean, as they are when the model is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Module

from ..data.order import Order, generator
from ..method.network import family_of, training_mode, velocity
from ..method.objective import noised, target

LEVELS = (0.5, 0.75, 0.95)
CLIPS = 4  # that are used of those that are held out, if nothing else is said
PATTERNS = {"t2v": (), "i2v": (0,), "start_end": (0, -1), "extension": (0, 1, 2, 3)}  # frames that are given, clean
SCORE = "validation"  # mean over all patterns with given frames: the number by which a run is judged


class ConditionalLoss:
    """Mean squared error of the velocity on the frames that are not given, over all held-out clips; lower is better.

    ``t2v`` counts the frames that ``i2v`` counts, without a given one: the gap between the two is what frame 0 is used for.

    Args:
        dataset: clips that are not trained on.
        batch_size: clips of a forward pass.
        dtype: of the residual stream.
        autocast: whether matrix products are in bfloat16.
        streamed: blocks whose weights lie elsewhere.
        levels: of the free frames, each in (0, 1].
        limit: clips that are used, evenly spread over the data set; a call costs up to twelve forward passes for each.
    """

    def __init__(
        self,
        dataset,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float32,
        autocast: bool = False,
        streamed: int = 0,
        levels: Sequence[float] = LEVELS,
        limit: int = CLIPS,
    ):
        self.dataset, self.levels, self.dtype, self.autocast, self.streamed = dataset, levels, dtype, autocast, streamed
        count = min(limit, len(dataset))
        chosen = sorted({round(index * (len(dataset) - 1) / max(1, count - 1)) for index in range(count)})
        order = Order([dataset.shapes[index] for index in chosen], batch_size, 0)
        self.batches = [[chosen[index] for index in order.batch(number)] for number in range(order.per_epoch)]

    def __call__(self, network: Module, step: int) -> dict[str, float]:
        """Loss by pattern, over the clips that are long enough for it; ``validation`` too, if one has given frames."""
        sums: dict[str, list[float]] = {}
        device = next(parameter.device for parameter in network.parameters() if parameter.requires_grad)
        was_training = network.training
        with torch.no_grad(), training_mode():
            for number, indices in enumerate(self.batches):
                latents, context = self.dataset.batch(indices)
                clean, context = latents.to(device, torch.float32), context.to(device, self.dtype)
                noise = torch.randn(latents.shape, generator=generator("validation", number)).to(device)
                for name, given in PATTERNS.items():
                    if clean.shape[2] > max(1, len(given)):
                        errors = [self._error(network, clean, noise, context, given, level) for level in self.levels]
                        sums.setdefault(name, []).extend(torch.stack(errors).mean(0).tolist())
        network.train(was_training)
        means = {name: sum(values) / len(values) for name, values in sums.items()}
        given = [value for name, value in means.items() if PATTERNS[name]]
        return means | ({SCORE: sum(given) / len(given)} if given else {})

    def _error(
        self, network: Module, clean: Tensor, noise: Tensor, context: Tensor, given: tuple[int, ...], level: float
    ) -> Tensor:
        """Error of each clip, [B], on the frames that are not given; frame 0 never counts."""
        frames = clean.shape[2]
        sigma = torch.full((clean.shape[0], frames), level, device=clean.device)
        free = torch.ones(frames, dtype=torch.bool, device=clean.device)
        sigma[:, list(given)], free[list(given)], free[0] = 0.0, False, False
        x = noised(clean, noise, sigma).to(self.dtype)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            predicted = velocity(network, x, sigma, context, self.streamed > 0, self.streamed)
        errors = (predicted.float() - target(clean, noise, family_of(network))).square().mean(dim=(1, 3, 4))
        return errors[:, free].mean(1)
