"""Pure maths of per-frame timesteps: sigma grids, frame geometry, noise levels and the text grammar.

Imports torch, never ComfyUI, so every function here can be used and tested alone.
"""

from .errors import InputError
from .flow_match import expert_switch, flow_match_sigmas
from .frame_rate import Resampling
from .geometry import check_length, latent_frame, latent_length, pixel_frames, pixel_length
from .grammar import fit_noise, parse_noise, parse_positions
from .level_table import LevelTable, Recipe
from .levels import frame_levels, multiplier_vector
from .summary import summary

__all__ = [
    "InputError",
    "LevelTable",
    "Recipe",
    "Resampling",
    "check_length",
    "expert_switch",
    "fit_noise",
    "flow_match_sigmas",
    "frame_levels",
    "latent_frame",
    "latent_length",
    "multiplier_vector",
    "parse_noise",
    "parse_positions",
    "pixel_frames",
    "pixel_length",
    "summary",
]
