"""How a graph counts frames: latent frame 0 is one frame, each further one is `factor` frames: 4, or 6 for Mochi."""

from .links import GraphError
from .settings import Settings
from .tasks import Task

WAN, MOCHI = 4, 6


def factor_of(graph: dict) -> int:
    """Frames of a latent frame: Mochi is told by its empty latent, or by the type of its text encoder."""
    nodes = graph.values()
    mochi = any(node["class_type"] == "EmptyMochiLatentVideo" or node["inputs"].get("type") == "mochi" for node in nodes)
    return MOCHI if mochi else WAN


def check_lengths(graph: dict, task: Task, settings: Settings) -> None:
    """Refuse lengths that the models of a graph cannot make.

    Raises:
        GraphError: names the flag, its value and what is allowed.
    """
    factor = factor_of(graph)
    extend = task.sampler == "PusaExtendVideo"
    rules = {  # (what is over a multiple of the factor, least, most)
        "num_frames": (1, 1 if factor == WAN else factor + 1, 16381),
        "overlap": (1, 1 if extend else factor + 1, 8001),
        "new_frames": (0, factor, 8000) if extend else (factor - 1, factor - 1, 7999),
    }
    for flag, (over, least, most) in rules.items():
        value = getattr(settings, flag)
        if value is not None and (not least <= value <= most or value % factor != over):
            rule = f"{factor}n + {over}" if over else f"a multiple of {factor}"
            last = most - (most - over) % factor
            whose = " with Mochi" if factor == MOCHI else ""
            raise GraphError(f"--{flag}: '{value}' is not a whole number from {least} to {last} that is {rule}{whose}")
