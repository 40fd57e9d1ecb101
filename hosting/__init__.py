"""ComfyUI and the pack inside this process, for the programs that need them."""
