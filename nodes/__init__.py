"""The register: every node of the pack, in the order a graph uses them. Import relatively only: ComfyUI has a `nodes` too."""

from collections.abc import Callable, Sequence

import folder_paths
from comfy_api.latest import ComfyExtension, io

from ..pusa_model.actors import raylight
from ..pusa_model.prompts.stored import register_folder
from ..pusa_model.storage import shipped
from .conditions import PusaKeyframes, PusaLatentFrames, PusaVideoFrames
from .extend import PusaExtendVideo, PusaTransition
from .loaders import PusaLoraLoader, PusaModelLoader, PusaModelPairLoader
from .merge import PusaMergeLora
from .plot import PusaConditionPlot
from .prompts import PusaLoadPrompt, PusaSavePrompt
from .rolling import PusaRollingVideo
from .sampling import PusaApplyCondition, PusaApplyConditionRaylight, PusaKSampler, PusaScheduler
from .schedule import PusaSchedule
from .shared import timeline_route
from .timeline import PusaTimeline

NODES: list[type[io.ComfyNode]] = [
    PusaModelLoader,
    PusaModelPairLoader,
    PusaLoraLoader,
    PusaTimeline,
    PusaKeyframes,
    PusaVideoFrames,
    PusaLatentFrames,
    PusaSchedule,
    PusaKSampler,
    PusaExtendVideo,
    PusaTransition,
    PusaRollingVideo,
    PusaApplyCondition,
    PusaScheduler,
    PusaConditionPlot,
    PusaSavePrompt,
    PusaLoadPrompt,
    PusaMergeLora,
]
FOR_OTHER_PACKS: dict[type[io.ComfyNode], Callable[[], bool]] = {
    PusaApplyConditionRaylight: lambda: raylight.is_installed(folder_paths.get_folder_paths("custom_nodes")),
}
"""Nodes that are for another pack, and whether it is there."""


class PusaExtension(ComfyExtension):
    """The pack as ComfyUI sees it.

    Args:
        above: nodes of programs, which stand above this room and import it.
    """

    def __init__(self, above: Sequence[type[io.ComfyNode]] = ()):
        self.above = above

    async def on_load(self) -> None:
        register_folder()
        shipped.register_models()
        shipped.put_inputs()
        timeline_route.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*NODES, *self.above, *(node for node, has_its_pack in FOR_OTHER_PACKS.items() if has_its_pack())]
