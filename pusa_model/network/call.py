"""What a network is called with, so that each of its tokens gets the timestep of its frame."""

from __future__ import annotations

from torch import Tensor

from ..families.networks import Network, padded_tokens
from ..families.references import with_references
from ..families.time_embedding import rows_of_call
from .modulation import IMAGE, add_replacements, frame_blocks
from .slices import GROUP, ROWS

POSITIONAL = ("context", "clip_fea", "time_dim_concat")  # arguments of a Wan network between its timesteps and the options


def call_per_frame(executor, record: Network, multipliers: Tensor, x: Tensor, timestep: Tensor, options: dict, call: dict):
    """Call a network with a timestep for every token that it will have.

    Args:
        executor: what ComfyUI gives a DIFFUSION_MODEL wrapper; ``class_obj`` is the network.
        record: how the vector reaches it.
        multipliers: m shaped [1 or B, T].
        timestep: at the global level, [B]; [B, T] where a noise mask of Wan2.2 5B counts in already.
        options: transformer options, which are added to.
        call: its other arguments.
    """
    given = timestep.reshape(timestep.shape[0], -1)
    levels = given * multipliers.to(given.dtype)
    if record.own_forward is not None:
        return executor(x, levels, transformer_options=options, **{name: each for name, each in call.items() if each is not None})
    # Asked anew at every call, because blocks that are compiled one by one are in the network only while it is called.
    network = executor.class_obj
    tokens, streams = padded_tokens(network, x.shape[3:]), record.streams(network, call)
    timesteps, group = with_references(levels, given.amax(1, keepdim=True), tokens, *streams)
    rows = timesteps.shape[1]
    if record.own_group is not None:
        rows, group = None, record.own_group(tokens, call)
    add_replacements(options, frame_blocks(network), len(network.blocks))
    options |= {ROWS: rows, GROUP: group, IMAGE: record.image_tokens(call)}
    arguments, others = [call.get(name) for name in POSITIONAL], {name: call[name] for name in call.keys() - set(POSITIONAL)}
    if not record.one_number:
        return executor(x, timesteps, *arguments, options, **others)
    with rows_of_call(timesteps.shape[0]):
        return executor(x, timesteps.flatten(), *arguments, options, **others)
