"""Prompts: stored in files, and checked against the model that is to read them."""

from .stored import load_prompt as load_prompt
from .stored import save_prompt as save_prompt
