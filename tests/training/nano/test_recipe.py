"""The steps of the recipe, for a moment each: the error falls, a stopped run goes on to the same bits."""

import json
import subprocess
import sys

import host_comfyui
import pytest
import torch
from safetensors import safe_open

host_comfyui.load_pack()

from pusa.training.data.encoded import EncodedDataset
from pusa.training.files import write_tensors
from pusa.training.loop import train
from pusa.training.method.network import load_weights
from pusa.training.nano import base, lora, words, world
from pusa.training.nano.latents import load_dataset
from pusa.training.nano.optimizer import MuonAdamW
from pusa.training.output import METADATA
from pusa.training.settings import Settings

STEPS = 6


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["lora", "latents.safetensors"], ["vae", "a", "b"]])
def test_a_step_without_its_files_says_which_it_needs(arguments):
    command = [sys.executable, "-m", "training.nano", *arguments]
    answer = subprocess.run(command, cwd=host_comfyui.ROOT, capture_output=True, text=True)
    assert answer.returncode == 1
    assert "python -m training.nano lora LATENTS BASE LORA" in answer.stderr and "Traceback" not in answer.stderr


@pytest.fixture(autouse=True)
def small_shape(monkeypatch):
    """Muon computes in bfloat16, which many CPUs do slowly: a quarter of the width, a third of the blocks."""
    monkeypatch.setattr(base, "SHAPE", {"dim": 48, "ffn_dim": 96, "num_layers": 2})


@pytest.fixture(scope="module")
def clips():
    """Eight latents that eight captions tell apart."""
    captions = [world.scene(seed).caption for seed in range(8)]
    latents = torch.randn(8, 16, 1, 1, 1, generator=torch.Generator().manual_seed(0)).expand(8, 16, 3, 4, 4)
    return EncodedDataset.from_tensors(
        latents, torch.stack([words.embed(caption) for caption in captions]), range(8), words.embed("")
    )


def settings(**changed) -> Settings:
    """In float32, which takes a tenth of the time where the CPU has no bfloat16."""
    usual = {"steps": STEPS, "batch_size": 4, "learning_rate": 2e-3, "timesteps": "scalar", "save_every": 0}
    return Settings(**usual | {"mixed_precision": "no"} | changed)


def small():
    return load_weights(base.new_weights(0), base.METADATA, full=True)


def test_the_network_says_nothing_at_first(clips):
    network = small()
    with torch.no_grad():
        said = network(torch.randn(1, 16, 3, 4, 4), torch.tensor([500.0]), clips.empty[None])
    assert said.abs().max() == 0
    assert network.num_heads == 4


def test_a_few_steps_lower_the_error(clips):
    losses = train(small(), clips, settings(steps=40, learning_rate=8e-3), optimizer=MuonAdamW, show=False).losses
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_run_that_was_stopped_ends_with_the_same_bits(clips, tmp_path):
    whole, stopped, resumed = small(), small(), small()
    changed = {"save_every": STEPS // 2}
    train(whole, clips, settings(**changed), tmp_path / "whole", optimizer=MuonAdamW, show=False)

    class Stop(Exception):
        pass

    def stop(network, result):
        raise Stop

    with pytest.raises(Stop):
        train(stopped, clips, settings(**changed), tmp_path / "stopped", optimizer=MuonAdamW, show=False, on_save=stop)
    result = train(resumed, clips, settings(**changed), tmp_path / "stopped", resume="auto", optimizer=MuonAdamW, show=False)
    assert result.step == STEPS
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_kernels_and_matrices_take_muon_and_everything_else_adamw():
    network = small()
    optimizer = MuonAdamW(network.parameters(), lr=1e-3)
    muon = {id(parameter) for parameter in optimizer.matrices}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in muon}
    assert "patch_embedding.weight" in names and "blocks.0.ffn.0.weight" in names
    assert not any(name.endswith(("bias", "modulation", "norm_q.weight")) for name in names)
    assert len(optimizer.parts["adamw"].param_groups[0]["params"]) + len(names) == len(list(network.parameters()))


def test_the_base_goes_through_its_cycles(tmp_path, monkeypatch):
    """First on half of the scenes, then on all; what is done already is not done again."""
    captions = [world.scene(seed).caption for seed in range(8)]
    latents = torch.randn(8, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    write_tensors(tmp_path / "latents.safetensors", {"latents": latents}, {"captions": json.dumps(captions)})
    assert len(load_dataset(tmp_path / "latents.safetensors", 0.5)) == 4
    monkeypatch.setattr(base, "CYCLES", ((0.5, settings(steps=2)), (1.0, settings(steps=3, seed=1))))
    arguments = [str(tmp_path / "latents.safetensors"), str(tmp_path / "base.safetensors")]
    assert base.main(arguments) == 0
    with safe_open(arguments[1], "pt") as file:
        assert file.metadata()["steps"] == "5"
        first = {name: file.get_tensor(name) for name in file.keys()}
    assert base.main(arguments) == 0
    with safe_open(arguments[1], "pt") as file:
        assert all(torch.equal(file.get_tensor(name), value) for name, value in first.items())


def test_most_clips_of_the_last_cycle_of_the_lora_go_on_from_a_clean_beginning():
    drawn = lora.begun_levels(lora.CYCLES[-1].settings, 4000, 9, torch.Generator().manual_seed(0))
    clean = (drawn == 0).cumprod(1).sum(1)
    behind = drawn.where(torch.arange(9) >= clean[:, None], torch.nan)
    one_level = (behind.nan_to_num(-1).amax(1) == behind.nan_to_num(2).amin(1)) & (clean > 0)
    begun = one_level & (clean >= lora.LATENTS[0]) & (clean <= lora.LATENTS[1])
    assert drawn.shape == (4000, 9) and 0.57 < begun.float().mean() < 0.72, "six of ten, and some of the usual ones are like them"
    assert set(clean[begun].tolist()) == {2, 3, 4, 5}
    assert behind[begun].nanmedian() > 0.88 > drawn[~begun].median(), "the course is made at the high levels"


def test_the_lora_goes_through_its_cycles(tmp_path, monkeypatch):
    """Levels and optimisers of its own in each; the file holds what all of them made."""
    captions = [world.scene(seed).caption for seed in range(8)]
    latents = torch.randn(8, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    write_tensors(tmp_path / "latents.safetensors", {"latents": latents}, {"captions": json.dumps(captions)})
    weights = {name: value.half() for name, value in base.new_weights(0).items()}
    weights["head.head.weight"].normal_(generator=torch.Generator().manual_seed(1))
    write_tensors(tmp_path / "base.safetensors", weights, base.METADATA)
    asked = []

    def levels(settings, batch, frames, generator):
        asked.append(settings.seed)
        return lora.begun_levels(settings, batch, frames, generator)

    short = [settings(steps=2, seed=seed, timesteps="vector") for seed in range(2)]
    cycles = (lora.Cycle(short[0]), lora.Cycle(short[1], levels, MuonAdamW))
    monkeypatch.setattr(lora, "CYCLES", cycles)
    files = [str(tmp_path / f"{name}.safetensors") for name in ("latents", "base", "lora")]
    assert lora.main(files) == 0
    assert asked == [1, 1]
    with safe_open(files[2], "pt") as file:
        assert json.loads(file.metadata()[METADATA])["steps"] == 4
        trained = [file.get_tensor(name) for name in file.keys() if "lora_B" in name]
    assert trained and all(tensor.abs().max() > 0 for tensor in trained)
