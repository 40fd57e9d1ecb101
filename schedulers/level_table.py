"""Levels for every frame and every step: the table S[k, i] and its builders.

Row k of a table says at which noise level each latent frame is before model call k (under Euler), its clock c_k what a sampler is
driven with. One vector of multipliers is the table ``S[k, i] = m_i c_k``; others hold frames back, or let them become clean one
after the other.

Sources: Diffusion Forcing (arXiv 2407.01392), FVDM (arXiv 2410.03160), SkyReels-V2 (arXiv 2504.13074), whose asynchronous schedule
is ``delayed`` with the order forward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import InputError

KINDS = ("scaled", "hold", "delay")
ORDERS = ("forward", "backward", "center")
SAME = 1e-6  # of two levels that mean one row


@dataclass(frozen=True, eq=False)
class LevelTable:
    """Levels of T frames in R steps.

    Attributes:
        clock: c, [R + 1], strictly falling in [0, 1].
        levels: S, [R + 1, T], in [0, 1]; of every frame falling or standing still.
        windows: for each of the R rows the frames [low, high) that the network sees; None where it sees all.

    Raises:
        InputError: values outside of these, or a window that leaves out a frame which moves in its row.
    """

    clock: Tensor
    levels: Tensor
    windows: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        clock, levels = self.clock, self.levels
        if clock.ndim != 1 or len(clock) < 2 or levels.ndim != 2 or len(levels) != len(clock) or not levels.shape[1]:
            raise InputError(
                f"a table of levels has a clock of {tuple(clock.shape)} and levels of {tuple(levels.shape)}; [rows + 1], two or "
                "more, and [rows + 1, frames] are needed."
            )
        check_grid(clock, "the clock")
        if not bool(((levels >= 0) & (levels <= 1)).all()):
            raise InputError("a table of levels holds values outside 0 to 1.")
        rising = (levels.diff(dim=0) > 0).nonzero()
        if len(rising):
            row, frame = rising[0].tolist()
            raise InputError(f"the level of latent frame {frame} rises in row {row} of the table; levels only fall or stand still.")
        if self.windows is not None:
            self._check_windows()

    def _check_windows(self) -> None:
        if len(self.windows) != self.rows:
            raise InputError(f"a table of {self.rows} rows has {len(self.windows)} windows.")
        for row, ((low, high), moving) in enumerate(zip(self.windows, self.levels.diff(dim=0) < 0)):
            if not 0 <= low < high <= self.frames:
                raise InputError(f"the window of row {row} is {low} to {high}; the table has the frames 0 to {self.frames - 1}.")
            missed = [frame for frame in moving.nonzero()[:, 0].tolist() if not low <= frame < high]
            if missed:
                raise InputError(f"latent frame {missed[0]} moves in row {row} outside of its window, {low} to {high - 1}.")

    @property
    def rows(self) -> int:
        """R, model calls under Euler."""
        return len(self.clock) - 1

    @property
    def frames(self) -> int:
        """T, latent frames."""
        return self.levels.shape[1]

    def row(self, sigma: float) -> tuple[int, float]:
        """The row that a level of the clock lies in, and how far behind its start in [0, 1); (R, 0) at the end and below.

        Levels that differ from that of a row by rounding are this row.
        """
        clock = self.clock.tolist()
        if sigma >= clock[0] - SAME:
            return 0, 0.0
        row = next((row for row, level in enumerate(clock) if level <= sigma + SAME), self.rows)
        if row == self.rows and sigma <= clock[-1] + SAME or abs(clock[row] - sigma) <= SAME:
            return row, 0.0
        return row - 1, (clock[row - 1] - sigma) / (clock[row - 1] - clock[row])

    def at(self, sigma: float) -> Tensor:
        """Levels [T] at a level of the clock, linear between rows."""
        row, part = self.row(sigma)
        return self.levels[row] if not part else torch.lerp(self.levels[row], self.levels[row + 1], part)

    def is_scaled(self) -> Tensor:
        """Of every frame, whether its level is a multiple of the clock, [T]."""
        return (self.levels == self.levels[0] / self.clock[0] * self.clock[:, None]).all(dim=0)


def check_grid(grid: Tensor, name: str) -> None:
    """Refuse a grid of levels that no frame can go through.

    Raises:
        InputError: fewer than two values, not finite, outside 0 to 1, or not falling.
    """
    if grid.ndim != 1 or len(grid) < 2:
        raise InputError(f"{name} has {grid.numel()} values; two or more are needed.")
    if not bool(grid.isfinite().all()):
        raise InputError(f"{name} holds values that are not finite (NaN or infinity).")
    if not bool(((grid >= 0) & (grid <= 1)).all()):
        raise InputError(f"{name} goes from {float(grid.max()):g} to {float(grid.min()):g}; levels lie in 0 to 1.")
    if not bool((grid.diff() < 0).all()):
        raise InputError(f"{name} does not fall from value to value.")


def scaled(grid: Tensor, multipliers: Tensor) -> LevelTable:
    """``S[k, i] = m_i sigma_k``: every frame at its share of the level of all. grid [K + 1], multipliers [T]."""
    return LevelTable(grid, grid[:, None] * multipliers)


def hold(grid: Tensor, multipliers: Tensor) -> LevelTable:
    """``S[k, i] = min(sigma_k, m_i)``: a frame waits at level m_i until the level of all has fallen to it."""
    return LevelTable(grid, torch.minimum(grid[:, None], multipliers))


def delayed(grid: Tensor, multipliers: Tensor, lag: int, block: int = 1, order: str = "forward") -> LevelTable:
    """Blocks of frames that start one after the other, and each goes through the whole grid.

    ``S[k, i] = m_i sigma_{clamp(k - a p_i, 0, K)}`` with ``a = min(lag, K)`` and p_i the block's place behind the given ones. The
    clock of ``R = K + a max p_i`` rows is even, or the grid where none is delayed.

    Args:
        grid: [K + 1].
        multipliers: m, [T]. Blocks at the beginning of the order whose frames are all clean (m = 0) are given: they cost no rows.
        lag: rows between the starts of two blocks, 0 or more.
        block: latent frames that move together, 1 or more; the last block may be short.
        order: which block starts first: that of the first frame, of the last, or of the middle.

    Raises:
        InputError: a number out of its range, another order, or a block longer than the clip.
    """
    steps, frames = len(grid) - 1, len(multipliers)
    if lag < 0:
        raise InputError(f"`lag` is {lag}; it is 0 or more.")
    if not 1 <= block <= frames:
        raise InputError(f"`block` is {block}; it is 1 to {frames}, the latent frames of the clip.")
    blocks = block_numbers(frames, block, order)
    given = given_blocks(blocks, multipliers)
    places = (blocks - given).clamp_min(0)
    moving = places[multipliers > 0]
    lag = min(lag, steps)
    rows = steps + lag * (int(moving.max()) if len(moving) else 0)
    steps_of = (torch.arange(rows + 1)[:, None] - lag * places).clamp(0, steps)
    clock = grid if rows == steps else 1 - torch.arange(rows + 1) / rows
    return LevelTable(clock, multipliers * grid[steps_of])


def block_numbers(frames: int, block: int, order: str) -> Tensor:
    """The block of every frame, [T], from 0 for the one that starts first."""
    places = torch.arange(frames)
    distances = {
        "forward": places,
        "backward": frames - 1 - places,
        "center": ((2 * places - (frames - 1)).abs()) // 2,
    }
    if order not in distances:
        raise InputError(f"there is no order `{order[:40]}`; use {', '.join(ORDERS)}.")
    return distances[order] // block


def given_blocks(blocks: Tensor, multipliers: Tensor) -> int:
    """How many blocks from the first on have clean frames only."""
    moving = blocks[multipliers > 0]
    return int(moving.min()) if len(moving) else int(blocks.max()) + 1


def with_windows(table: LevelTable, window: int) -> LevelTable:
    """A table whose network sees ``window`` frames at a time: those up to the last that moves, and at least the first ones."""
    window, high, windows = min(window, table.frames), 0, []
    for moving in table.levels.diff(dim=0) < 0:
        last = int(moving.nonzero().max()) + 1 if bool(moving.any()) else high
        high = min(table.frames, max(last, window))
        windows.append((high - window, high))
    return replace(table, windows=tuple(windows))


@dataclass(frozen=True)
class Recipe:
    """How the table of a condition is made once its multipliers, and the grid of a sampler, are known.

    Attributes:
        kind: scaled, hold or delay.
        lag, block, order: of delay.
        grid: levels of each frame, K + 1 of them, falling; a sampler that has a grid of its own puts that in its place.
        window: latent frames that the network sees at a time; 0 for all.
    """

    kind: str
    lag: int = 0
    block: int = 1
    order: str = "forward"
    grid: tuple[float, ...] = (1.0, 0.0)
    window: int = 0

    def table(self, multipliers: Tensor, grid: Tensor | None = None) -> LevelTable:
        """The table of a clip.

        Args:
            multipliers: m, [T].
            grid: [K + 1]; None takes that of the recipe.

        Raises:
            InputError: another kind, or what the builders refuse.
        """
        grid = torch.tensor(self.grid) if grid is None else grid
        check_grid(grid, "the grid")
        if self.kind == "delay":
            table = delayed(grid, multipliers, self.lag, self.block, self.order)
            return with_windows(table, self.window) if self.window else table
        if self.kind not in KINDS:
            raise InputError(f"there is no kind `{self.kind[:40]}`; use {', '.join(KINDS)}.")
        return (scaled if self.kind == "scaled" else hold)(grid, multipliers)


def lag_of_window(steps: int, window: int, block: int) -> int:
    """The smallest lag at which the blocks that move at a time fit a window: ``ceil(K / floor(W / n))``."""
    return -(-steps // (window // block))
