"""Where the workflows come from: `python dev.py workflows` builds them in a real ComfyUI and a real browser."""
