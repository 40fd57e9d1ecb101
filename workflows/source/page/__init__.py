"""The graphs in ComfyUI's own page: opened, arranged, wrapped, and saved as it saves them."""
