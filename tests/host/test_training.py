"""Train LoRA (Pusa) in a real server, with ComfyUI's own nodes around it."""

import asyncio

import graphs
import pytest
from films import write_film
from messages import binary_messages, cancelled_at
from safetensors import safe_open


@pytest.fixture
def clips(base, ask):
    """Two clips in a folder of ComfyUI's input."""
    if "LoadVideoDataSetFromFolder" not in ask(lambda client: client.get("/object_info")):
        pytest.skip("this ComfyUI has no Load Video (from Folder)")
    folder = base / "input" / "clips"
    folder.mkdir(exist_ok=True)
    for number in range(2):
        write_film(folder / f"{number}.mp4", 5)
    return folder.name


def graph(clips, **changes):
    settings = dict(
        steps=3, learning_rate=1e-3, rank=4, init_lora="none", training_seed=1, run_name="run", resume=True, batch_size=1
    )
    settings |= dict(grad_accumulation_steps=1, p_condition=0.0, save_every=0, gradient_checkpointing=True, blocks_on_cpu=0)
    loader = dict(unet_name="pusa_tiny_wan.safetensors", weight_dtype="default", lora_name="none", strength=1.0)
    return {
        "unet": graphs.node("PusaModelLoader", **loader),
        "vae": graphs.node("VAELoader", vae_name="pusa_tiny_vae.safetensors"),
        "prompt": graphs.node("PusaLoadPrompt", prompt_name="pusa_tiny_positive.safetensors"),
        "clips": graphs.node("LoadVideoDataSetFromFolder", folder=clips),
        "frames": graphs.node("GetVideoComponents", video=["clips", 0]),
        "latents": graphs.node("VAEEncode", pixels=["frames", 0], vae=["vae", 0]),
        "train": graphs.node(
            "PusaTrainLora", model=["unet", 0], latents=["latents", 0], positive=["prompt", 0], **settings | changes
        ),
        "save": graphs.node("SaveLoRA", lora=["train", 0], prefix="loras/run", steps=["train", 2]),
        "plot": graphs.node("LossGraphNode", loss=["train", 1], filename_prefix="loss"),
    }  # fmt: skip


def test_a_list_of_clips_becomes_a_lora_that_load_pusa_lora_takes(base, server, ask, clips):
    messages = asyncio.run(asyncio.wait_for(binary_messages(server, graph(clips, run_name="whole")), 120))
    assert any(kind == 3 and b"step 3 of 3, loss " in text for kind, text in messages)
    (file,) = (base / "output" / "loras").glob("run_3_steps_*.safetensors")
    with safe_open(file, framework="pt") as lora:
        assert len(lora.keys()) == 2 * 2 * 10  # A and B of ten layers in each of two blocks
    (base / "models" / "loras" / "trained.safetensors").write_bytes(file.read_bytes())
    sampled = graphs.base_graph()
    sampled["model"]["inputs"] |= {"lora_name": "trained.safetensors", "strength": 1.0}
    assert [each.filename for each in ask(lambda client: client.run(sampled))]


def test_a_cancelled_run_goes_on_where_it_was(base, ask, clips):
    ask(lambda client: cancelled_at(client, graph(clips, steps=5000), "train", 2))
    (kept,) = (base / "output" / "pusa_training" / "run" / "checkpoints").iterdir()
    done = int(kept.stem.removeprefix("step-"))
    assert 2 <= done < 5000
    seen = []
    ask(lambda client: client.run(graph(clips, steps=done + 2), seen.append))
    assert [each.value for each in seen if each.node_id == "train" and each.value > 1][0] == done + 1
    assert list((base / "output" / "loras").glob(f"run_{done + 2}_steps_*.safetensors"))
