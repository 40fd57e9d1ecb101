"""Flags: those of our own, what each may be, and those of the official V0.5 scripts that say the same."""

from .parser import parse, parser

__all__ = ["parse", "parser"]
