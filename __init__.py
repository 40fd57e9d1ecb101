"""Pusa for ComfyUI: one timestep per latent frame for ComfyUI's own Wan models.

ComfyUI is imported only inside the entry point, so the package can be imported without it.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's entry point: the extension with all nodes."""
    from .nodes import PusaExtension
    from .training.graph.node import PusaTrainLora

    return PusaExtension([PusaTrainLora])
