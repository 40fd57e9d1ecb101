"""What a run with a condition may begin from, and what it gives back of the clean frames."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..schedulers import InputError, LevelTable
from .condition import Condition
from .families.table import Family
from .paths.own_path import is_core

NOISED = (
    "Connect the `latent` of Apply Condition (Pusa) to the sampler as it is, with RandomNoise: AddNoise brings all frames to one "
    "level, so it cannot stand between them."
)
SAME = 0.01  # of the largest value: more than half precision makes of a clean frame on its way to the sampler


def placement(model, family: Family) -> Callable[[Tensor], Tensor] | None:
    """What makes of condition frames what the latent to sample holds of them; None where they are placed as they are."""
    return model.process_latent_out if family.raw else None


class Start:
    """The beginning of the runs of one condition.

    Args:
        table: of the levels of all frames, where they are not ``m_i sigma``.
    """

    def __init__(self, condition: Condition, family: Family, table: LevelTable | None) -> None:
        self.condition, self.family, self.table, self.vector = condition, family, table, condition.vector()
        self.conditioned, self.clean = numbers(self.vector < 1), numbers(self.vector == 0)

    def check(self, guider, noise: Tensor, latent_image: Tensor, sampler, sigmas: Tensor) -> None:
        """Refuse a run that does not begin with this condition in its latent.

        Raises:
            InputError: a latent of another shape, without the condition or noised already, or levels that are not finite.
        """
        if latent_image.ndim != 5 or latent_image.shape[2] != len(self.vector):
            raise InputError(
                f"the latent to sample has the shape {tuple(latent_image.shape)}, the Pusa condition of this model was "
                f"made for {len(self.vector)} latent frames. Use the same latent for both."
            )
        if not sigmas.isfinite().all():
            raise InputError("`sigmas` holds values that are not finite (NaN or infinity).")
        if self.conditioned and self.condition.frames.any() and not latent_image[:, :, self.conditioned].any():
            raise InputError(
                "the latent to sample is empty where the Pusa condition should be. Connect the `latent` output of "
                "Apply Condition (Pusa) to the sampler, not the latent that went into it."
            )
        if self.clean and self.fits(latent_image):
            scales = {None, placement(guider.model_patcher.model, self.family)}
            if not any(self.holds_clean(latent_image, self.condition.place(latent_image, scale)) for scale in scales):
                raise InputError(f"the latent to sample holds other frames than the condition where these are clean. {NOISED}")
        if not noise.any() and is_core(sampler) and len(sigmas):
            self.check_noised(guider.model_patcher.model.process_latent_in(latent_image), float(sigmas[0]))

    def clean_frames(self, model, latent_image: Tensor) -> tuple[Tensor, Tensor]:
        """The latent to sample, and the one that its clean frames (m = 0) are returned from.

        The two differ where a family has raw conditions. There, what another run has returned holds the frames as they were
        given, so they are placed anew.
        """
        scale = placement(model, self.family)
        if scale is None:
            return latent_image, latent_image
        if not self.fits(latent_image):
            return latent_image, model.process_latent_in(latent_image)
        placed = latent_image.clone()
        placed[:, :, self.clean] = self.condition.place(latent_image, scale)[:, :, self.clean]
        return placed, self.condition.place(latent_image)

    def fits(self, latent_image: Tensor) -> bool:
        """Whether the condition is that of every clip of a batch, which another node may have taken apart."""
        return self.condition.frames.shape[0] in (1, len(latent_image))

    def holds_clean(self, latent_image: Tensor, given: Tensor) -> bool:
        """Whether the clean frames of two latents are the same."""
        given = given[:, :, self.clean]
        return float((latent_image[:, :, self.clean] - given).abs().max()) <= SAME * float(given.abs().max())

    def check_noised(self, latent: Tensor, level: float) -> None:
        """Refuse a run without noise of its own whose latent cannot be the rest of an earlier run.

        That is ``x / (1 - s)`` where x has noise of deviation s, what AddNoise makes is x itself.

        Args:
            latent: [B, C, T, h, w] in the scale of the model.
            level: that the run begins at.
        """
        if self.table is not None:
            level = float(self.table.at(level)[self.vector == 1].min()) if bool((self.vector == 1).any()) else 0.0
        free = latent[:, :, self.vector == 1]
        if level >= 1 or free.numel() and float(free.float().std()) < level / (1 - level) / 2:
            raise InputError(f"the run begins at level {level:.3g} without noise, and the latent has too little. {NOISED}")


def numbers(chosen: Tensor) -> list[int]:
    """The latent frames that are chosen, of [T]."""
    return chosen.nonzero()[:, 0].tolist()
