"""Adapters between per-frame timesteps and ComfyUI: conditions, model patches, sampling, files."""
