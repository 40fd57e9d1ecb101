"""The networks that take a timestep per latent frame, and what each needs for it beside the numbers themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

Stream = tuple[int, int]  # frames, and the tokens of each
Streams = tuple[Sequence[Stream], Sequence[Stream]]  # before the clip and behind it
MADE_FOR = "the Pusa LoRA is made for text-to-video, so it may follow given frames less well"


@dataclass(frozen=True)
class Network:
    """How a vector of timesteps reaches the network of one class.

    Attributes:
        words: what a MODEL with it is.
        refused: why it takes no timestep per latent frame; None where it does.
        one_number: it embeds one number per row and not more, see ``time_embedding.py``.
        own_group: of one that puts timesteps of its own behind those it is given: the tokens that each stands for then, from the
            tokens of a frame and the arguments of a call.
        streams: tokens beside those of the clip, from the arguments of a call, see ``beside_the_clip``.
        image_tokens: tokens of a picture before those of the prompt, from the arguments of a call; None where there is none.
        remark: what is probably not meant where frames are given.
        own_forward: puts a forward onto a cloned MODEL that takes the vector as it is, and runs the DIFFUSION_MODEL wrappers
            that it is given, because the class's own does neither; None where that does both.
        asks: whether an entry of a CONDITIONING, by its options, needs that forward even where no frame is given.
    """

    words: str
    refused: str | None = None
    one_number: bool = False
    own_group: Callable[[int, dict[str, Any]], int] | None = None
    streams: Callable[[nn.Module, dict[str, Any]], Streams] = lambda network, call: ((), ())
    image_tokens: Callable[[dict[str, Any]], int | None] = lambda call: _tokens(call.get("clip_fea"))
    remark: str | None = None
    own_forward: Callable[[Any, Sequence[Callable]], None] | None = None
    asks: Callable[[dict[str, Any]], bool] = lambda options: False


def _tokens(features) -> int | None:
    return None if features is None else features.shape[-2]


def padded_tokens(network: nn.Module, sides: Sequence[int]) -> int:
    """Tokens of a frame of so many latent pixels, padded to whole patches as ComfyUI pads the clip."""
    (height, width), (_, high, wide) = sides, network.patch_size
    return -(-height // high) * -(-width // wide)


def whole_tokens(network: nn.Module, sides: Sequence[int]) -> int:
    """Tokens of a frame whose last pixels are left out where they make no whole patch."""
    (height, width), (_, high, wide) = sides, network.patch_size
    return (height // high) * (width // wide)


def appended(network: nn.Module, call: dict[str, Any]) -> list[Stream]:
    """Frames that ComfyUI's Wan puts behind any clip: of Phantom's references, then of Bernini's."""
    latents = [call.get("time_dim_concat"), *(call.get("context_latents") or ())]
    return [(each.shape[2], padded_tokens(network, each.shape[3:])) for each in latents if each is not None]


def beside_the_clip(network: nn.Module, call: dict[str, Any]) -> Streams:
    """Tokens of ``WanModel`` and of what takes its forward: a reference picture before the clip, references behind it."""
    reference = call.get("reference_latent")
    if getattr(network, "ref_conv", None) is None or reference is None:
        return (), appended(network, call)
    return [(1, whole_tokens(network, reference.shape[-2:]))], appended(network, call)


def of_humo(network: nn.Module, call: dict[str, Any]) -> Streams:
    """HuMo puts its reference pictures behind the clip."""
    reference = call.get("reference_latent")
    behind = [] if reference is None else [(reference.shape[2], whole_tokens(network, reference.shape[3:]))]
    return (), [*appended(network, call), *behind]


def of_scail(network: nn.Module, call: dict[str, Any]) -> Streams:
    """SCAIL puts reference pictures before the clip and a stream of poses, which may have half its size, behind it."""
    before, behind = (
        [] if each is None else [(each.shape[2], padded_tokens(network, each.shape[3:]))]
        for each in (call.get("reference_latent"), call.get("pose_latents"))
    )
    return before, [*appended(network, call), *behind]


def group_of_s2v(tokens: int, call: dict[str, Any]) -> int:
    """S2V doubles all numbers where it is given the motion before the clip, whose frames it packs to one and a half."""
    return tokens if call.get("reference_motion") is None else tokens // 2


TEXT_TO_VIDEO = Network("text-to-video", streams=beside_the_clip)

WAN_RELATIVES = {
    "WanModel": TEXT_TO_VIDEO,
    "VaceWanModel": Network("Wan VACE", one_number=True, streams=beside_the_clip),
    "CameraWanModel": Network("Wan Camera Control", one_number=True, streams=beside_the_clip, remark=MADE_FOR),
    "AnimateWanModel": Network("Wan2.2 Animate", streams=beside_the_clip, remark=MADE_FOR),
    "WanModel_S2V": Network("Wan2.2 S2V (sound to video)", own_group=group_of_s2v, remark=MADE_FOR),
    "HumoWanModel": Network("HuMo", streams=of_humo, remark=MADE_FOR),
    "SCAILWanModel": Network("SCAIL", streams=of_scail, remark=MADE_FOR),
    "SCAIL2WanModel": Network("SCAIL 2", streams=of_scail, remark=MADE_FOR),
    "WanDancerModel": Network(
        "WanDancer",
        streams=beside_the_clip,
        image_tokens=lambda call: sum(_tokens(call.get(name)) or 0 for name in ("clip_fea", "clip_fea_ref")),
        remark=MADE_FOR,
    ),
    "CausalWanModel": Network(
        "a causal autoregressive Wan",
        refused="it makes a clip block by block and keeps what it has seen in a cache, which holds for one timestep alone",
    ),
}
"""The classes of ``comfy.ldm.wan`` with latents of 16 channels."""
