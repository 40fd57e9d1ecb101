"""What a run may begin from: LoRA files of every spelling, a LoRA that is built in, another file of the network."""

import json

import pytest
import safetensors
import tiny
import torch
from pusa.pusa_model.lora.load import load_lora
from pusa.schedulers import InputError
from pusa.training.method.lora import add_lora, lora_tensors
from pusa.training.method.network import load_weights, training_mode, velocity
from pusa.training.method.start import build_in, rank_in_file, read_lora, take_weights
from pusa.training.train import main
from safetensors.torch import load_file, save_file

X = torch.randn(1, 16, 3, 4, 4, generator=tiny.seeded(1))
SIGMA = torch.tensor([[0.1, 0.9, 0.5]])
CONTEXT = torch.randn(1, 8, tiny.TEXT_WIDTH, generator=tiny.seeded(2))


def said_by(network):
    with training_mode(), torch.no_grad():
        return velocity(network, X, SIGMA, CONTEXT)


def official(weights, path):
    torch.save(weights, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def with_prefix(weights, path):
    save_file({f"diffusion_model.{key}": value for key, value in weights.items()}, path)
    return path


def kohya(weights, path):
    """lora_unet_..., with an alpha of half the rank, so B is twice as large."""
    renamed = {}
    for key, value in weights.items():
        module, part = key.split(".lora_")
        name = "lora_unet_" + module.replace(".", "_")
        renamed[f"{name}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = value if part[0] == "A" else 2 * value
        renamed[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(renamed, path)
    return path


@pytest.fixture(params=[official, with_prefix, kohya])
def lora_file(request, tmp_path):
    return request.param(tiny.lora_weights(), tmp_path / "pusa.safetensors")


def begun(network, path, alpha=None):
    made = network()
    start = read_lora(path, made, print)
    add_lora(made, rank_in_file(path)[0], alpha, start=start)
    return made


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_a_run_begins_with_what_the_loader_gives(network, lora_file, wan_weights, alpha):
    made = begun(network, lora_file, alpha)
    model = load_lora(tiny.wan_model(wan_weights), str(lora_file), 1.0)
    model.patch_model()
    with torch.no_grad():
        expected = model.model.diffusion_model(X, 1000 * SIGMA, CONTEXT)
    assert torch.allclose(said_by(made), expected, atol=2e-5) and not torch.allclose(said_by(network()), expected, atol=1e-2)
    assert rank_in_file(lora_file) == (4, sum(parameter.numel() for parameter in made.parameters() if parameter.requires_grad))


def test_what_is_written_at_once_is_what_was_read(network, tmp_path):
    weights = tiny.lora_weights()
    written = lora_tensors(begun(network, with_prefix(weights, tmp_path / "a.safetensors"), alpha=1.0))
    assert written.keys() == {f"diffusion_model.{key}" for key in weights}
    assert all(torch.allclose(written[f"diffusion_model.{key}"], value, rtol=1e-6) for key, value in weights.items())


def test_layers_may_have_ranks_of_their_own(network, tmp_path):
    """As files that were cut down by singular values do; the layers that have none get none."""
    weights = {key: value for key, value in tiny.lora_weights().items() if "blocks.0" in key}
    for key in [key for key in weights if "ffn.0" in key]:
        weights[key] = weights[key][:2] if "lora_A" in key else weights[key][:, :2].contiguous()
    made = begun(network, with_prefix(weights, tmp_path / "a.safetensors"))
    tensors = lora_tensors(made)
    assert len(tensors) == 20 and all("blocks.0" in key for key in tensors)
    assert tensors["diffusion_model.blocks.0.ffn.0.lora_A.default.weight"].shape == (2, 128)
    whole = network()
    assert build_in(tmp_path / "a.safetensors", whole.float(), print) == 10
    assert torch.allclose(said_by(made), said_by(whole), atol=2e-5)


def test_a_lora_is_built_into_the_weights(network, lora_file):
    whole = network(full=True)
    assert build_in(lora_file, whole, print) == 20
    assert torch.allclose(said_by(whole), said_by(begun(network, lora_file)), atol=2e-5)


def test_another_file_of_the_network_is_taken_and_one_of_another_is_not(network, wan_weights):
    other = load_weights({name: value + 0.1 for name, value in wan_weights.items()}, full=True)
    made = network(full=True)
    take_weights(made, other, "other.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), other.state_dict().values(), strict=True))
    longer = load_weights(tiny.wan_weights(layers=3), full=True)
    with pytest.raises(InputError, match="other.safetensors is no file of the same network as the model; they differ in blocks.2"):
        take_weights(made, longer, "other.safetensors")


def test_files_that_cannot_be_begun_from_are_refused(network, tmp_path):
    difference = {"diffusion_model.blocks.0.self_attn.q.diff": torch.ones(128, 128)}
    save_file(difference, tmp_path / "diff.safetensors")
    with pytest.raises(InputError, match="diff.safetensors changes blocks.0.self_attn.q by something else than a low-rank update"):
        read_lora(tmp_path / "diff.safetensors", network(), print)
    with pytest.raises(InputError, match="`init_lora`: diff.safetensors holds no LoRA"):
        rank_in_file(tmp_path / "diff.safetensors")
    with pytest.raises(InputError, match="`init_lora`: there is no file"):
        rank_in_file(tmp_path / "gone.safetensors")
    wide = {key: value.repeat(1, 2) if "lora_A" in key else value for key, value in tiny.lora_weights().items()}
    with pytest.raises(InputError, match="`init_lora`: .* do not fit the weights of this model"):
        read_lora(with_prefix(wide, tmp_path / "wide.safetensors"), network(), print)


@pytest.fixture
def command(store_and_model):
    return [*store_and_model, "--output"]


def test_pusa_tuned_on_clips_of_one_s_own(command, tmp_path, capsys):
    source = with_prefix(tiny.lora_weights(), tmp_path / "pusa_v1.safetensors")
    run = [*command, str(tmp_path / "out"), "--init_lora", str(source), "--lr", "1e-5", "--save_dtype", "fp32"]
    assert main([*run, "--steps", "1"]) == 0
    assert "Begun from pusa_v1.safetensors: rank 4 on 20 layers." in capsys.readouterr().out
    path = tmp_path / "out" / "pusa_wan_rank4_step00001.safetensors"
    first, before = load_file(path), load_file(source)
    assert first.keys() == before.keys() and max((first[key] - before[key]).abs().max() for key in first) < 3e-5
    assert any(not torch.equal(first[key], before[key]) for key in first)
    with safetensors.safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["pusa_training"])
    assert record["init_lora"] == "pusa_v1.safetensors" and len(record["init_lora_sha256"]) == 64 and record["rank"] == 4
    assert main([*run, "--steps", "2", "--resume", "auto"]) == 0
    assert main([*command, str(tmp_path / "out"), "--rank", "4", "--steps", "3", "--resume", "auto"]) == 1
    assert "is of a run on another network: targets (['as in the file'] then" in capsys.readouterr().err
    for further, words in ((["--rank", "8"], "has rank 4; leave --rank out"), (["--targets", "q"], "--targets has no effect")):
        capsys.readouterr()
        assert main([*command, str(tmp_path / "new"), "--init_lora", str(source), *further]) == 1
        assert words in capsys.readouterr().err


def test_the_whole_network_begins_from_a_lora_or_a_file(command, tmp_path, wan_weights, capsys):
    source = with_prefix(tiny.lora_weights(), tmp_path / "pusa_v1.safetensors")
    save_file({name: value + 0.5 for name, value in wan_weights.items()}, tmp_path / "other.safetensors")
    full = ["--train_architecture", "full", "--steps", "1", "--lr", "1e-6", "--save_dtype", "fp32"]
    assert main([*command, str(tmp_path / "a"), *full, "--init_lora", str(source)]) == 0
    assert "pusa_v1.safetensors is built into 20 weights." in capsys.readouterr().out
    assert main([*command, str(tmp_path / "b"), *full, "--init", str(tmp_path / "other.safetensors")]) == 0
    name, lora = "blocks.0.self_attn.q.weight", tiny.lora_weights()
    a, b = (load_file(tmp_path / folder / "pusa_wan_full_step00001.safetensors")[name] for folder in "ab")
    update = lora["blocks.0.self_attn.q.lora_B.default.weight"] @ lora["blocks.0.self_attn.q.lora_A.default.weight"]
    assert torch.allclose(a, wan_weights[name] + update, atol=1e-4) and torch.allclose(b, wan_weights[name] + 0.5, atol=1e-4)
    assert main([*command, str(tmp_path / "c"), "--init", str(tmp_path / "other.safetensors")]) == 1
    assert "--init is of --train_architecture full" in capsys.readouterr().err
