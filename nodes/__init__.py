"""The register: every node of the pack, in the order a graph uses them. Import relatively only: ComfyUI has a `nodes` too."""

from comfy_api.latest import ComfyExtension, io

from ..pusa_model.prompts.stored import register_folder
from .conditions import PusaKeyframes, PusaLatentFrames, PusaVideoFrames
from .extend import PusaExtendVideo, PusaTransition
from .loaders import PusaLoraLoader, PusaModelLoader, PusaModelPairLoader
from .merge import PusaMergeLora
from .plot import PusaConditionPlot
from .prompts import PusaLoadPrompt, PusaSavePrompt
from .rolling import PusaRollingVideo
from .sampling import PusaApplyCondition, PusaKSampler, PusaScheduler
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


class PusaExtension(ComfyExtension):
    """The pack as ComfyUI sees it."""

    async def on_load(self) -> None:
        register_folder()
        timeline_route.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
