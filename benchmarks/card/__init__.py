"""What a graphics card and a computer must have: sizes of files and memory, computed from the shapes of ComfyUI's own networks."""
