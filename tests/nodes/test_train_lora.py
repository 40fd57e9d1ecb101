"""Train LoRA (Pusa): the trainer's own run on what a graph holds, which stays as it is."""

import comfy.model_management
import mochi
import pytest
import tiny
import torch
from comfy_extras.nodes_train import LoraModelLoader, SaveLoRA
from merge_files import plain_base, scaled_base
from nodes import NODE_CLASS_MAPPINGS
from pusa.nodes.loaders import PusaLoraLoader, PusaModelLoader
from pusa.pusa_model.families.table import WAN
from pusa.training.data.encoded import EncodedDataset
from pusa.training.graph.node import PusaTrainLora
from pusa.training.loop import train
from pusa.training.method.lora import add_lora, lora_tensors
from pusa.training.method.network import load_base
from pusa.training.method.start import read_lora
from pusa.training.settings import Settings
from torch.nn.functional import cosine_similarity

WAN_FILE, LORA = "wan_low_noise.safetensors", "lora.safetensors"
OWN = {"mixed_precision": "no", "activations": "fp32", "gradient_checkpointing": True, "learning_rate": 1e-3, "seed": 7}


@pytest.fixture
def given(folders):
    """What a graph gives the node: lists, made in inference mode as ComfyUI makes them."""
    with torch.inference_mode():
        latents = [{"samples": torch.randn(1, 16, 3, 4, 4, generator=tiny.seeded(seed))} for seed in range(4)]
        prompts = [tiny.prompt(seed) for seed in range(4)]
        (model,) = PusaModelLoader.execute(WAN_FILE, "default", "none", 1.0).args
    single = {"model": model, "steps": 6, "learning_rate": 1e-3, "rank": 4, "init_lora": "none", "training_seed": 7}
    single |= {"run_name": "mine", "resume": True, "batch_size": 2, "grad_accumulation_steps": 1, "p_condition": 0.0}
    single |= {"save_every": 4, "gradient_checkpointing": True, "blocks_on_cpu": 0}
    return {"latents": latents, "positive": prompts} | {name: [value] for name, value in single.items()}


@pytest.fixture
def run(given):
    """Runs the node as ComfyUI does."""

    def run(**changes):
        with torch.inference_mode():
            return PusaTrainLora.execute(**given | {name: [value] for name, value in changes.items()}).args

    return run


def by_the_trainer(folders, given, lora=None, **changes):
    """The same run of the trainer's own: (LoRA, losses)."""
    network = load_base(folders / "diffusion_models" / WAN_FILE).network
    clips = [WAN.latent_format().process_in(latent["samples"])[0].clone() for latent in given["latents"]]
    dataset = EncodedDataset.from_tensors(clips, [prompt[0][0][0].clone() for prompt in given["positive"]], range(4))
    start = read_lora(folders / "loras" / LORA, network, print) if lora else None
    add_lora(network, 4, seed=7, start=start)
    result = train(network, dataset, Settings(**OWN | {"steps": 6, "batch_size": 2} | changes), show=False)
    return lora_tensors(network), result.losses


@pytest.mark.parametrize("init_lora", ["none", LORA])
def test_it_is_the_run_of_the_trainer(folders, given, run, init_lora):
    made, loss_map, steps = run(init_lora=init_lora)
    wanted, losses = by_the_trainer(folders, given, init_lora != "none")
    assert loss_map["loss"] == losses and steps == 6
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[name], wanted[name].bfloat16()) for name in wanted)


def test_loras_of_the_model_are_a_part_of_what_is_trained_on(given, run):
    """What the network says with a LoRA on the MODEL is what it says with that LoRA begun from."""
    begun = run(init_lora=LORA, steps=1, run_name="begun")
    with torch.inference_mode():
        (model,) = PusaLoraLoader.execute(given["model"][0], LORA, 1.0).args
    below = run(model=model, steps=1, run_name="below")
    bare = run(steps=1, run_name="bare")
    assert below[1]["loss"] == pytest.approx(begun[1]["loss"], rel=1e-5)
    assert abs(bare[1]["loss"][0] - begun[1]["loss"][0]) > 1e-3


FILES = {
    "bf16": lambda path, weights: plain_base(path, weights, torch.bfloat16),
    "fp8": lambda path, weights: plain_base(path, weights, torch.float8_e4m3fn),
    "scaled fp8": lambda path, weights: scaled_base(path, weights, "old"),
    "mixed precision": lambda path, weights: scaled_base(path, weights, "entries"),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_format_of_a_model_is_trained_on(folders, run, kind):
    """With a LoRA on it, near to what the float32 file says."""
    path = folders / "diffusion_models" / "other_low_noise.safetensors"
    FILES[kind](path, tiny.wan_weights())
    models = []
    with torch.inference_mode():
        for name in (path.name, WAN_FILE):
            (model,) = PusaModelLoader.execute(name, "default", LORA, 1.0).args
            models.append(model)
    found, wanted = (run(model=model, run_name=str(number), steps=3)[1]["loss"] for number, model in enumerate(models))
    assert found == pytest.approx(wanted, rel=0.05) and found != wanted


def test_wan22_5b_is_trained_on_its_own_latents(folders, run):
    path = folders / "diffusion_models" / "wan2.2_ti2v_5B.safetensors"
    plain_base(path, tiny.wan_weights(channels=48, out_dim=48), torch.float32)
    with torch.inference_mode():
        (model,) = PusaModelLoader.execute(path.name, "default", "none", 1.0).args
        latent = {"samples": torch.randn(2, 48, 3, 4, 4, generator=tiny.seeded(1))}
    made, loss_map, _ = run(model=model, latents=latent, positive=tiny.prompt(1))
    assert made and len(loss_map["loss"]) == 6


def test_the_model_and_the_clips_of_the_graph_stay_as_they_are(given, run):
    network = given["model"][0].model.diffusion_model
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clips = [latent["samples"].clone() for latent in given["latents"]]
    run()
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(latent["samples"], clip) for latent, clip in zip(given["latents"], clips))
    assert not comfy.model_management.in_training


def test_a_cancelled_run_goes_on_to_the_same_bits(run, folders, monkeypatch):
    """Cancelled in the middle of the third step; it ends as the one does that nothing has stopped."""
    whole = run(run_name="whole")
    seen = []

    def told(cls, text):
        seen.append(text)
        if len(seen) == 2:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr("pusa.training.graph.run.say", told)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run()
    assert seen[-1].startswith("step 2 of 6, loss ")
    assert [path.name for path in (folders / "output/pusa_training/mine/checkpoints").iterdir()] == ["step-00000002.pt"]
    made, loss_map, steps = run()
    assert loss_map == whole[1] and steps == 6 and all(torch.equal(made[name], whole[0][name]) for name in made)
    assert not comfy.model_management.processing_interrupted()


def test_core_nodes_take_what_it_makes(folders, given, run, wan, positive, latent_shape=(1, 16, 3, 4, 4)):
    """Load LoRA Model and, through Save LoRA Weights, Load Pusa LoRA change a model alike."""
    made, _, steps = run(learning_rate=1e-2)
    with torch.inference_mode():
        (direct,) = LoraModelLoader.execute(wan, made, 1.0).args
        SaveLoRA.execute(made, "loras/mine", steps)
    (file,) = (folders / "output" / "loras").iterdir()
    assert file.name == "mine_6_steps_00001_.safetensors"
    (folders / "loras" / "mine.safetensors").write_bytes(file.read_bytes())
    with torch.inference_mode():
        (loaded,) = PusaLoraLoader.execute(wan, "mine.safetensors", 1.0).args
        x = NODE_CLASS_MAPPINGS["KSampler"]().sample
        noise = {"samples": torch.zeros(latent_shape)}
        results = [
            x(model, 1, 2, 1.0, "euler", "simple", positive, positive, noise)[0]["samples"] for model in (wan, direct, loaded)
        ]
    assert torch.equal(results[1], results[2])
    assert cosine_similarity(results[0].flatten(), results[1].flatten(), 0) < 0.9999


REFUSED = {
    "three prompts for four clips": (
        lambda given: {"positive": given["positive"][:3]},
        "`positive` holds 3 prompts for 4 clips in `latents`; give one for all of them, or as many, in the same order.",
    ),
    "two values of a widget": (lambda given: {"steps": [1, 2]}, "`steps` has 2 values; one is taken."),
    "a value out of range in a list": (lambda given: {"latents": [*given["latents"], {}]}, "`latents, item 4` is a LATENT without"),
    "no clips": (lambda given: {"latents": []}, "`latents` is an empty list."),
    "pictures of another model": (
        lambda given: {"latents": [{"samples": torch.zeros(1, 4, 8, 8)}]},
        "`latents: item 0` has the shape (1, 4, 8, 8); a video latent is [batch, channels, frames, height, width], as VAE Encode",
    ),
    "another VAE": (
        lambda given: {"latents": [{"samples": torch.zeros(1, 48, 3, 4, 4)}]},
        "`latents: item 0` has 48 channels; Wan2.1 (and 2.2 A14B) takes 16. Encode the clips with",
    ),
    "a masked latent": (
        lambda given: {"latents": [given["latents"][0] | {"noise_mask": torch.ones(1, 32, 32)}]},
        "`latents: item 0` has a noise mask, which training has no use for",
    ),
    "a model with an encoder of its own": (
        lambda given: {"model": [mochi.model()]},
        "`model` is Mochi 1 (Pusa V0.5), whose clips are encoded by the causal encoder",
    ),
    "another text encoder": (
        lambda given: {"positive": [[[torch.zeros(1, 8, 256), {}]]]},
        "embeddings of width 256; the model takes",
    ),
    "a name that leads away": (lambda given: {"run_name": ["../mine"]}, "`run_name` is `../mine`; give the name of a folder"),
    "a model that cannot be loaded again": (
        lambda given: {"model": [tiny.wan_model(tiny.wan_weights())]},
        "`model` comes from a loader that cannot load it a second time",
    ),
    "blocks without what they need": (
        lambda given: {"blocks_on_cpu": [1], "gradient_checkpointing": [False]},
        "`blocks_on_cpu` is 1; it must be off unless `gradient_checkpointing` is on",
    ),
    "a LoRA of another kind": (
        lambda given: {"init_lora": ["other.safetensors"]},
        "`init_lora`: 1 of 1 keys of the file match no weight",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_told_before_a_step(given, folders, name):
    changes, words = REFUSED[name]
    with torch.inference_mode(), pytest.raises(ValueError) as caught:
        PusaTrainLora.execute(**given | changes(given))
    assert str(caught.value).startswith("Train LoRA (Pusa): ") and words in str(caught.value)
    assert str(folders) not in str(caught.value) and "--" not in str(caught.value)


def test_a_run_of_another_kind_under_its_name_is_told(run, folders):
    run(steps=1)
    for changes, words in (
        (
            {"resume": False},
            "output/pusa_training/mine holds a run already (up to step-00000001.pt). "
            "Go on with it (`resume`), or give another `run_name`.",
        ),
        ({"rank": 8}, "is of a run on another network: rank (4 then, 8 now)"),
        ({"training_seed": 8}, "is of a run with other settings: seed (7 then, 8 now)"),
    ):
        with pytest.raises(ValueError, match="Train LoRA") as caught:
            run(steps=2, **changes)
        assert words in str(caught.value) and str(folders) not in str(caught.value)
    assert run(steps=1)[2] == 1  # nothing to do
