"""The pack in a real ComfyUI server: every task over HTTP, progress and previews over the websocket, errors in words."""

import asyncio
import re

import av
import graphs
import pytest
import torch
from messages import binary_messages, cancelled_at
from safetensors.torch import save_file

from cli.client import ExecutionFailed, PromptRejected

PUSA_NODES = {
    "PusaApplyCondition",
    "PusaConditionPlot",
    "PusaExtendVideo",
    "PusaKSampler",
    "PusaKeyframes",
    "PusaLatentFrames",
    "PusaLoadPrompt",
    "PusaLoraLoader",
    "PusaMergeLora",
    "PusaModelLoader",
    "PusaModelPairLoader",
    "PusaRollingVideo",
    "PusaSavePrompt",
    "PusaSchedule",
    "PusaScheduler",
    "PusaTimeline",
    "PusaTrainLora",
    "PusaTransition",
    "PusaVideoFrames",
}


def read_video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.average_rate, [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def test_the_pack_loads_without_a_warning(server, ask):
    """All nodes are there, the pack is in ComfyUI's own list of imports, and the log holds no complaint of ours."""
    found = {name for name in ask(lambda client: client.get("/object_info")) if name.startswith("Pusa")}
    assert found == PUSA_NODES
    log = server.log_text()
    assert re.search(r"[\d.]+ seconds: \S*pusa-under-another-name", log)
    assert "IMPORT FAILED" not in log and "WARNING: pusa" not in log


@pytest.mark.parametrize("task", graphs.TASKS)
def test_every_task_gives_a_video(base, ask, task):
    """POST /prompt, progress over the websocket up to the last step, and a video of the right size and length."""
    seen = []
    files = ask(lambda client: client.run(graphs.TASKS[task], seen.append))
    videos = [file for file in files if file.filename.endswith(".mp4")]
    rate, frames = read_video(videos[0].path(base))
    assert rate == 16 and len(frames) == graphs.LENGTH and frames[0].shape == (64, 64, 3)
    steps = [each.value for each in seen if each.node_id == "sampler"]
    assert steps == sorted(steps) and steps[-1] >= graphs.STEPS - 1


def test_previews_arrive_while_sampling(server):
    """Binary preview pictures come over the websocket, at least one a step, as from KSampler."""
    graph = graphs.conditioned(graphs.keyframes(["start"], "0", "0.2"), seed=77)
    messages = asyncio.run(asyncio.wait_for(binary_messages(server, graph), 120))
    assert sum(kind in (1, 4) for kind, _ in messages) >= graphs.STEPS - 1


def test_what_is_probably_not_meant_is_shown_on_the_node(server):
    """A run with given frames and no Pusa LoRA goes on, and the sampler node says what is missing."""
    graph = graphs.conditioned(graphs.keyframes(["start"], "0", "0.2"), model=["unet", 0], seed=78)
    messages = asyncio.run(asyncio.wait_for(binary_messages(server, graph), 120))
    assert any(kind == 3 and b"sampler" in text and b"No LoRA is on the model" in text for kind, text in messages)


def test_cancelling_stops_within_a_step(ask):
    graph = graphs.conditioned(graphs.keyframes(["start"], "0", "0.2"), steps=2000, seed=5)
    assert max(ask(lambda client: cancelled_at(client, graph, "sampler", 1))) < 2000


def keys(positions="0", noise="0.2", names=("start",), **changes):
    return graphs.conditioned(graphs.keyframes(list(names), positions, noise, **changes))


REJECTED = {
    "a position that does not parse": (keys(positions="0; 3"), "`0; 3` in `positions` is not a position"),
    "noise that does not parse": (keys(noise="low"), "`low` in `noise` is not a number"),
    "a multiplier above one": (keys(noise="1.5"), "the noise multiplier 1.5 is outside 0 to 1"),
    "no steps": (graphs.base_graph(steps=0), "Value 0 smaller than min of 1"),
    "an unknown scheduler": (graphs.base_graph(scheduler="official"), "Value not in list"),
    "an unknown sampler": (graphs.base_graph(sampler_name="flowmatch_pusa"), "Value not in list"),
    "an unknown fit": (keys(fit="squeeze"), "Value not in list"),
}

FAILED = {
    "a position off the clip": (
        keys(positions="24"),
        "Keyframes (Pusa): position 24 is outside the clip. The latent has 5 frames (17 pixel frames)",
    ),
    "a frame twice": (keys("1, 2", "0", ("start", "end")), "latent frame 1 (pixel frames 1 to 4) is given twice"),
    "unequal lists": (keys("0, 8", "0, 0.1, 0.2", ("start", "end")), "`noise` lists 3 values for 2 condition frames"),
    "fewer pictures than positions": (keys("0, 8", "0"), "`positions` names 2 frames for 1 pictures"),
    "a picture with an alpha channel": (
        keys()
        | {
            "mask": graphs.node("LoadImageMask", image="alpha.png", channel="alpha"),
            "picture_start": graphs.node("JoinImageWithAlpha", image=["plain", 0], alpha=["mask", 0]),
            "plain": graphs.node("LoadImage", image="end.png"),
        },
        "RGB pictures",
    ),
    "a length off the grid": (
        graphs.conditioned(graphs.clip(), graphs.video_frames(frames=12)),
        "`frames` is 12; a clip has 4n + 1 frames",
    ),
    "a clip that is too short": (graphs.conditioned(graphs.clip("short"), graphs.video_frames(frames=9)), "the video has only 5"),
    "a condition for another latent": (
        keys() | {"other": graphs.node("EmptyHunyuanLatentVideo", width=64, height=64, length=33, batch_size=1)},
        "the condition was made for 5 latent frames (17 pixel frames)",
    ),
    "a picture latent": (keys() | {"empty": graphs.node("EmptyLatentImage", width=64, height=64, batch_size=1)}, "five axes"),
    "another LoRA": (
        graphs.base_graph()
        | {"model": graphs.node("PusaLoraLoader", model=["unet", 0], lora_name="other_lora.safetensors", strength=1.0)},
        "match no weight",
    ),
}
FAILED["a condition for another latent"][0]["sampler"]["inputs"]["latent_image"] = ["other", 0]


@pytest.mark.parametrize("mistake", REJECTED)
def test_mistakes_in_widgets_are_told_before_anything_runs(ask, mistake):
    """The server refuses the prompt and names the reason; the next prompt runs."""
    graph, words = REJECTED[mistake]
    with pytest.raises(PromptRejected, match=re.escape(words)):
        ask(lambda client: client.run(graph))
    assert ask(lambda client: client.run(graphs.TASKS["text to video"]))


@pytest.mark.parametrize("mistake", FAILED)
def test_mistakes_in_values_are_told_at_the_node(ask, base, mistake):
    """The node that was given the wrong value says what is wrong, in words, and the server goes on serving."""
    save_file({"blocks.0.other.lora_A.weight": torch.zeros(4, 4)}, base / "models" / "loras" / "other_lora.safetensors")
    graph, words = FAILED[mistake]
    with pytest.raises(ExecutionFailed) as failure:
        ask(lambda client: client.run(graph))
    assert words in failure.value.message and failure.value.node_type.startswith("Pusa")
    assert failure.value.exception_type == "ValueError"
    assert ask(lambda client: client.run(graphs.TASKS["text to video"]))


def test_prompts_are_stored_and_loaded(ask, base):
    """Save Prompt writes where Load Prompt lists, without a restart."""
    save = {
        "load": graphs.node("PusaLoadPrompt", prompt_name="pusa_tiny_positive.safetensors"),
        "save": graphs.node("PusaSavePrompt", conditioning=["load", 0], prompt_name="copies/again", overwrite=False),
    }
    ask(lambda client: client.run(save))
    copy = base / "models" / "prompts" / "copies" / "again.safetensors"
    assert copy.read_bytes() == (base / "models" / "prompts" / "pusa_tiny_positive.safetensors").read_bytes()
    graph = graphs.base_graph()
    graph["positive"] = graphs.node("PusaLoadPrompt", prompt_name="copies/again.safetensors")
    assert ask(lambda client: client.run(graph))
