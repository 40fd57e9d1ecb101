"""The embedded model and its VAE, loaded once for all tables."""

from collections.abc import Iterable
from pathlib import Path

from hosting.process import ROOT, pack_module

from ..measure.report import Limit, Table

STRENGTH = 1.4  # of the LoRA
FOLDER = ROOT / "assets" / "nano"
SHARES = ["colour", "shape", "motion", "all three"]
MOVING = ("moves right", "moves left", "moves up", "moves down", "bounces", "circles", "stops")


class Bench:
    """What every table is measured with.

    Args:
        folder: of the model files.
        count: clips of a row.
        steps: of a clip, where a row says nothing else.
    """

    def __init__(self, folder: Path, count: int, steps: int = 10):
        self.folder, self.count, self._models = folder, count, {}
        self.evaluate, self.vae = pack_module("training.nano.quality.evaluate"), pack_module("training.nano.vae")
        self.schedulers, self.renoise = pack_module("schedulers"), pack_module("pusa_model.paths.renoise")
        self.codec, self.setting = self.evaluate.Codec(folder), self.evaluate.Setting(steps=steps)

    def model(self, strength: float = STRENGTH):
        if strength not in self._models:
            self._models[strength] = self.evaluate.Model(self.folder, strength)
        return self._models[strength]

    def table(
        self, title: str, heads: list[str], rows: list[list[str]], note: str = "", limits: Iterable[Limit] = (), clips: int = 0
    ) -> Table:
        """A table that says how many clips a row is over: ``clips``, or as many as all."""
        return Table(title, heads, rows, tuple(limits), (f"{clips or self.count} clips a row. {note}".strip(),))


def percent(shares: dict[str, float]) -> list[str]:
    """Cells of what ``agreement`` found."""
    return [f"{100 * shares[word]:.1f} %" for word in ("colour", "shape", "motion", "all")]
