"""Vectorised timestep adaptation: training a Pusa LoRA, or a whole network, on ComfyUI's own Wan.

``python -m training.encode`` makes latents and prompt embeddings of a data set, ``python -m training.train`` trains on them.
No node imports this package; it needs the extra ``train`` of pyproject.toml.
"""
