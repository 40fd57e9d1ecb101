"""Numbers that are none, in every widget that takes a fraction, from JSON to the node of a real server."""

import json
import math
import re

import graphs
import host_comfyui
import pytest

from cli.client import ExecutionFailed, PromptRejected

CONTRACT = json.loads((host_comfyui.ROOT / "tests" / "nodes" / "contract.json").read_text(encoding="utf-8"))
WAN, LOW, LORA = "pusa_tiny_wan.safetensors", "pusa_tiny_wan_low.safetensors", "pusa_tiny_lora.safetensors"
JOIN = dict(
    model=["model", 0], vae=["vae", 0], video=["clip", 0], negative=["negative", 0], overlap=5, noise="0", seed=1, steps=1,
    sampler_name="euler", scheduler="flow_match", cross_fade=0, resample="keep", frames_in="memory",
)  # fmt: skip
INPUTS = {
    "PusaLoraLoader": {"model": ["unet", 0], "lora_name": LORA},
    "PusaModelLoader": {"unet_name": WAN, "weight_dtype": "default", "lora_name": LORA, "distill_lora_name": LORA},
    "PusaModelPairLoader": {
        "unet_name_high": WAN, "unet_name_low": LOW, "weight_dtype": "default", "lora_name_high": LORA, "lora_name_low": LORA,
    },
    "PusaKSampler": {
        "model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["empty", 0],
        "seed": 1, "steps": 1, "sampler_name": "euler", "scheduler": "flow_match",
    },
    "PusaExtendVideo": JOIN | {
        "positive.prompt0": ["positive", 0], "new_frames": 4, "hops": 1, "direction": "forwards", "hop_seed": "fixed",
    },
    "PusaTransition": JOIN | {"positive": ["positive", 0], "new_frames": 3},
    "PusaTimeline": {"vae": ["vae", 0], "latent": ["empty", 0], "timeline": ""},
    "PusaApplyCondition": {"model": ["model", 0], "latent": ["empty", 0], "condition": ["condition", 0]},
    "PusaSchedule": {"latent": ["empty", 0], "kind": "delay", "lag": 1, "block": 1, "order": "forward", "steps": 1},
    "PusaRollingVideo": {
        "model": ["model", 0], "positive.prompt0": ["positive", 0], "negative": ["negative", 0], "latent": ["empty", 0],
        "seed": 1, "length": 9, "window": 2, "steps": 1, "block": 1,
    },
    "PusaScheduler": {"steps": 1},
    "PusaConditionPlot": {"condition": ["condition", 0], "steps": 1},
    "PusaMergeLora": {"base_name": WAN, "lora_name": LORA, "lora_name_2": LORA, "filename": "none", "overwrite": True},
    "PusaTrainLora": {
        "model": ["model", 0], "latents": ["empty", 0], "positive": ["positive", 0], "steps": 1, "rank": 1, "init_lora": "none",
        "training_seed": 0, "run_name": "none", "resume": True, "batch_size": 1, "grad_accumulation_steps": 1, "save_every": 0,
        "gradient_checkpointing": True, "blocks_on_cpu": 0,
    },
}  # fmt: skip
"""Of every node with such a widget: what else it needs."""


def fractions(name: str) -> dict[str, float]:
    """The widgets of a node that take a fraction, with their defaults."""
    found = (re.match(r"(\w+): FLOAT\?? = (\S+)", each) for each in CONTRACT["nodes"][name]["inputs"])
    return {each[1]: float(each[2]) for each in found if each}


WIDGETS = [(name, widget) for name in CONTRACT["nodes"] for widget in fractions(name)]


def graph(name: str, widget: str, value) -> dict:
    """A graph in which the node has a value in the widget, and somebody asks for its result."""
    parts = graphs.base_graph() | graphs.clip() | graphs.keyframes(["start"], "0", "0.2")
    for unused in ("sampler", "frames", "video", "save"):
        del parts[unused]
    parts["node"] = graphs.node(name, **(INPUTS[name] | fractions(name) | {widget: value}))
    return parts if name == "PusaMergeLora" else parts | {"ask": graphs.node("PreviewAny", source=["node", 0])}


def test_every_node_with_a_fraction_is_known():
    assert {name for name, _ in WIDGETS} == set(INPUTS)


@pytest.mark.parametrize("value", [math.nan, "nan", math.inf, "-inf"], ids=repr)
def test_what_is_no_number_is_refused_by_the_name_of_its_widget(ask, value):
    async def answers(client):
        found = {}
        for name, widget in WIDGETS:
            try:
                found[name, widget] = await client.run(graph(name, widget, value))
            except (PromptRejected, ExecutionFailed) as error:
                found[name, widget] = str(error)
        return found

    for (name, widget), answer in ask(answers).items():
        assert isinstance(answer, str) and widget in answer, (name, widget, answer)
