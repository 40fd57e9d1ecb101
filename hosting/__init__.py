"""A ComfyUI to run the pack in: inside this process, or a server over HTTP."""
