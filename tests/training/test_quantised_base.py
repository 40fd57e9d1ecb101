"""A frozen base in 8 and 4 bits: how near it is to the base as the file has it, that it trains, and what is refused."""

import gc
import json
import sys
import weakref
from dataclasses import replace

import mochi
import pytest
import safetensors
import tiny
import torch
from pusa.pusa_model.families.table import WAN
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.keeping.checkpoint import checkpoints, read_checkpoint
from pusa.training.loop import train
from pusa.training.memory.budget import need, tokens
from pusa.training.memory.outline import outline
from pusa.training.memory.quantised import LOSES, FrozenLinear, base_dtype_of, operations, size
from pusa.training.method.lora import add_lora, lora_tensors
from pusa.training.method.network import load_base, load_weights, network_to_train, training_mode, velocity
from pusa.training.method.objective import noised, target
from pusa.training.nano import latents, words, world
from pusa.training.nano.quality import evaluate
from pusa.training.nano.ship import FOLDER, PLACES
from pusa.training.run import Run
from pusa.training.settings import CHOICES, Settings
from pusa.training.train import main
from safetensors.torch import load_file, save_file
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

pytest.importorskip("bitsandbytes")

KINDS = ("int8", "nf4")
COSINE = {"int8": 0.98, "nf4": 0.5}  # of all gradients of a fresh LoRA on the embedded model, with those on the base of the file
ROUNDING = {"int8": 0.01, "nf4": 0.1}  # of a weight of normal numbers, to its norm
COUNT = 4
FAST = {"mixed_precision": "no", "learning_rate": 1e-2, "steps": 10, "batch_size": 2, "seed": 3, "save_every": 0}


def quantised(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, FrozenLinear) and layer.parts}


@pytest.fixture(scope="module")
def scenes():
    """Latents of scenes of the embedded model's world, their contexts, noise and levels."""
    draws = tiny.seeded(0)
    clean = latents.encode_scenes(evaluate.Codec(FOLDER).network, range(COUNT), "held-out", torch.float32).float()
    context = torch.stack([words.embed(world.scene(seed, "held-out").caption) for seed in range(COUNT)])
    return clean, context, torch.randn(clean.shape, generator=draws), torch.rand(COUNT, 9, generator=draws)


def on_nano(kind, scenes):
    """The loss of the embedded model with a fresh LoRA, and all its gradients as one vector."""
    clean, context, noise, sigma = scenes
    network = load_base(FOLDER / PLACES["base"], base_dtype=kind).network
    add_lora(network, 8)
    with training_mode():
        said = velocity(network, noised(clean, noise, sigma), sigma, context, checkpointing=True)
        value = (said - target(clean, noise)).square().mean()
        value.backward()
    return value.item(), torch.cat([each.grad.flatten() for each in network.parameters() if each.requires_grad])


@pytest.fixture(scope="module")
def as_the_file(scenes):
    return on_nano("file", scenes)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_near_those_of_the_file(kind, scenes, as_the_file):
    """Within what the run and the page say."""
    (value, gradients), (loss, expected) = on_nano(kind, scenes), as_the_file
    assert 0 < abs(value / loss - 1) < LOSES[kind]
    assert COSINE[kind] < torch.nn.functional.cosine_similarity(gradients, expected, dim=0) < 0.9999


def loaded(kind, weight, bias):
    """A layer as it comes out of a file."""
    layer, name = operations(kind).Linear(*weight.T.shape, dtype=weight.dtype), "blocks.0.ffn.0."
    layer._load_from_state_dict({f"{name}weight": weight, f"{name}bias": bias}, name, {}, True, [], [], [])
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_multiplies_by_its_rounded_weight_and_keeps_only_few_bits(kind):
    """There and back: the rows of the identity show the weight, and the gradient is taken through the same one."""
    draws = tiny.seeded(0)
    weight, bias = torch.randn(96, 80, generator=draws), torch.randn(96, generator=draws)
    layer = loaded(kind, weight, bias)
    rounded = (layer(torch.eye(80)) - bias).T
    assert 0 < (rounded - weight).norm() < ROUNDING[kind] * weight.norm()
    x, kept = torch.randn(3, 5, 80, generator=draws, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = layer(x)
    assert torch.allclose(out, x @ rounded.T + bias, atol=1e-4)
    gradient = torch.randn(out.shape, generator=draws)
    out.backward(gradient)
    assert torch.allclose(x.grad, gradient @ rounded, atol=1e-4)
    assert (
        sum(tensor.nbytes for tensor in kept)
        == size(kind, weight.shape)
        == sum(getattr(layer, name).nbytes for name in layer.parts)
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_takes_inputs_and_copies_of_weights_away(kind):
    """So that of blocks that come and go one is there at a time, and activations are those that checkpointing keeps."""
    layer, alive = loaded(kind, torch.ones(96, 80), torch.zeros(96)), []

    def run(x):
        copies, x = {name: value.clone() for name, value in layer.named_parameters()}, 2 * x
        alive.extend(weakref.ref(tensor) for tensor in (x, *copies.values()))
        return functional_call(layer, copies, (x,))

    out = checkpoint(run, torch.ones(3, 80, requires_grad=True), use_reentrant=False)
    gc.collect()
    assert len(alive) == len(layer.parts) + 2 and not [each() for each in alive if each() is not None]
    out.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_only_linear_layers_of_the_blocks_are_quantised_and_the_size_is_what_is_computed(kind, tmp_path, wan_weights):
    weights = {name: value.bfloat16() if value.ndim == 2 else value for name, value in wan_weights.items()}
    save_file(weights, tmp_path / "wan.safetensors")
    made, found = load_base(tmp_path / "wan.safetensors", base_dtype=kind).network, outline(tmp_path / "wan.safetensors")
    assert set(quantised(made)) == set(found.linear) and len(found.linear) == 20 and base_dtype_of(made) == kind
    assert sum(value.nbytes for value in made.parameters()) == found.size - found.saved(kind)
    for name, value in made.named_parameters():
        assert any(name.startswith(f"{layer}.") for layer in quantised(made)) or torch.equal(value, weights[name]), name


def family(name, kind):
    if name == "Mochi":
        return network_to_train(mochi.model(operations=operations(kind)))
    return load_weights(tiny.wan_weights() if name == "Wan" else tiny.wan_weights(channels=48, out_dim=48), base_dtype=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, channels, width", [("Wan", 16, None), ("5B", 48, None), ("Mochi", 12, mochi.CONFIG["t5_feat_dim"])])
def test_ten_steps_lower_the_loss_of_every_family(name, kind, channels, width):
    """With what else saves memory, which changes no bit; the LoRA is as ever."""
    draws = tiny.seeded(0)
    clean = torch.randn(2, channels, 1, 1, 1, generator=draws)[[0, 1] * 2] + 0.1 * torch.randn(
        4, channels, 3, 4, 4, generator=draws
    )
    data = EncodedDataset.from_tensors(clean, torch.randn(2, 5, width or tiny.TEXT_WIDTH, generator=draws), [0, 1] * 2)
    results = []
    saving = {"gradient_checkpointing": True, "offload_activations": True, "blocks_on_cpu": 0 if name == "Mochi" else 2}
    for more in ({}, saving):
        made = family(name, kind)
        assert {layer.split(".", 2)[2].split(".")[-1] for layer in quantised(made)}.isdisjoint({"mod_x", "mod_y"})
        assert len(quantised(made)) >= 10 * len(made.blocks) - 2 or name == "Mochi"
        add_lora(made, 4)
        settings = Settings(**FAST | more, base_dtype=kind)

        def judged():
            with torch.no_grad(), training_mode():
                run = Run(made, data, settings, None, None, None, None)  # noqa: B023
                return sum(run.loss(number).item() for number in range(100, 104))

        before = judged()
        losses = train(made, data, settings, show=False).losses
        assert judged() < 0.97 * before
        results.append((losses, lora_tensors(made)))
    (losses, tensors), (same, again) = results
    assert losses == same and all(torch.equal(value, again[key]) for key, value in tensors.items())
    assert all(value.dtype == torch.float32 for value in tensors.values()) and len(tensors) == 2 * len(quantised(made))


@pytest.fixture
def command(store_and_model, tmp_path, wan_weights):
    save_file({name: value.bfloat16() for name, value in wan_weights.items()}, tmp_path / "wan.safetensors")
    return [*store_and_model, "--rank", "4", "--learning_rate", "1e-3", "--output", str(tmp_path / "out")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_lora_as_ever_and_goes_on_with_the_same_base_only(kind, command, tmp_path, capsys):
    save_file({f"diffusion_model.{key}": value for key, value in tiny.lora_weights().items()}, tmp_path / "begun.safetensors")
    command += ["--init_lora", str(tmp_path / "begun.safetensors"), "--base_dtype", kind]
    assert main([*command, "--steps", "1"]) == 0
    told = capsys.readouterr().out
    assert f"The base is held in {kind}, whose rounding raises the loss" in told and ("Warning" in told) == (kind == "nf4")
    assert main([*command, "--steps", "3", "--resume", "auto"]) == 0
    whole = [*command[: command.index("--output")], "--output", str(tmp_path / "whole"), *command[command.index("--output") + 2 :]]
    assert main([*whole, "--steps", "3"]) == 0
    (path, other) = (tmp_path / name / "pusa_wan_rank4_step00003.safetensors" for name in ("out", "whole"))
    assert path.read_bytes() == other.read_bytes() and len(load_file(path)) == 40
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["pusa_training"])["settings"]["base_dtype"] == kind
    assert main([*command[:-2], "--steps", "4", "--resume", "auto"]) == 1
    assert f"base_dtype ({kind} then, file now)" in capsys.readouterr().err
    assert read_checkpoint(checkpoints(tmp_path / "out")[-1])["settings"]["base_dtype"] == kind


def test_what_cannot_be_is_refused_in_words(command, tmp_path, wan_weights, capsys, monkeypatch, network, clips):
    def refused(*more):
        capsys.readouterr()
        assert main([*command, *more]) == 1
        return capsys.readouterr().err

    full = [*command[: command.index("--rank")], *command[command.index("--rank") + 2 :], "--train_architecture", "full"]
    assert main([*full, "--base_dtype", "int8"]) == 1
    assert "--base_dtype int8 is for a LoRA" in capsys.readouterr().err
    with pytest.raises(InputError, match="`base_dtype` is nf4, which is for a LoRA"):
        load_weights(wan_weights, full=True, base_dtype="nf4")
    assert CHOICES["base_dtype"] == ("file", *LOSES)
    with pytest.raises(InputError, match="`base_dtype` is int4; it must be one of file, int8, nf4"):
        load_weights(wan_weights, base_dtype="int4")
    with pytest.raises(InputError, match="`base_dtype` is int8, but the base of this network is loaded as file"):
        train(network(), clips, Settings(base_dtype="int8"), show=False)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "bitsandbytes", None)  # Python's way to say that it cannot be imported
        assert "needs the package bitsandbytes, which is not installed: pip install bitsandbytes" in refused("--base_dtype", "int8")
        with pytest.raises(InputError, match="pip install bitsandbytes"):
            load_weights(wan_weights, base_dtype="nf4")
    fp8 = {name: value.to(torch.float8_e4m3fn) if value.ndim == 2 else value for name, value in wan_weights.items()}
    save_file(fp8, tmp_path / "wan.safetensors")
    assert "`base_dtype` is nf4, but wan.safetensors is quantised already" in refused("--base_dtype", "nf4")
    for weights in (fp8, wan_weights | {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn), "a.scale_weight": torch.ones(())}):
        with pytest.raises(InputError, match="`base_dtype` is int8, but the state dict is quantised already"):
            load_weights(weights, base_dtype="int8")


def test_memory_takes_8_bits_where_nothing_else_fits_and_the_run_goes_on_with_them(command, tmp_path, clips, capsys):
    command.remove("--cpu")
    found = outline(tmp_path / "wan.safetensors")
    least = Settings(mixed_precision="no", gradient_checkpointing=True, offload_activations=True, blocks_on_cpu=2)
    sums = [
        need(found, found.lora(4, WAN.targets), tokens(clips.shapes), replace(least, base_dtype=kind)).total
        for kind in ("file", "int8")
    ]
    tight = ["--memory", f"{sum(sums) / 2e9:.9f}G"]
    assert sums[1] < sums[0] and main([*command, *tight, "--steps", "1", "--base_dtype", "file"]) == 1
    assert "are not enough, with everything in RAM that can be: " in capsys.readouterr().err
    assert main([*command, *tight, "--steps", "1"]) == 0
    told = capsys.readouterr().out
    assert (
        "--base_dtype int8.\nNothing that changes no number was enough. With --base_dtype file, --memory refuses instead." in told
    )
    assert "The base is held in int8" in told
    assert main([*command, "--memory", "24G", "--steps", "2", "--resume", "auto"]) == 0
    assert "takes nothing more than what is given." in capsys.readouterr().out
    assert read_checkpoint(checkpoints(tmp_path / "out")[-1])["settings"]["base_dtype"] == "int8"
