"""LoRAs merged into a model file, from file to file."""

from .stream import merge as merge
