"""Training inside of a graph of ComfyUI: the node Train LoRA (Pusa), and copies of what the graph holds."""
