"""LoRA files: what is in them, whether they fit a model, and what is on a model already. Merging them is in ``merge/``."""

from .load import load_lora as load_lora
