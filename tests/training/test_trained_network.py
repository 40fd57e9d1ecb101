"""Networks of ComfyUI with gradients: the forward pass, precision, gradient checkpointing, LoRA layers."""

import comfy.model_management
import pytest
import tiny
import torch
from pusa.pusa_model.families.table import WAN
from pusa.schedulers import InputError
from pusa.training.method.lora import add_lora, lora_tensors
from pusa.training.method.network import load_base, load_weights, training_mode, velocity
from safetensors.torch import save_file

MODULES = [f"blocks.{block}.{module}" for block in range(2) for module in (
    *(f"{attention}.{target}" for attention in ("self_attn", "cross_attn") for target in "qkvo"), "ffn.0", "ffn.2")]  # fmt: skip
X = torch.randn(2, 16, 3, 4, 4, generator=tiny.seeded(1))
SIGMA = torch.tensor([[0.1, 0.9, 0.5], [1.0, 0.0, 0.3]])
CONTEXT = torch.randn(2, 8, tiny.TEXT_WIDTH, generator=tiny.seeded(2))


def gradients(network, checkpointing=False, autocast=False, x=X, sigma=SIGMA, context=CONTEXT):
    with training_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = velocity(network, x, sigma, context, checkpointing)
        out.float().square().mean().backward()
    return out.detach(), {name: parameter.grad for name, parameter in network.named_parameters() if parameter.requires_grad}


def randomise(network):
    """LoRA layers as after a training: B is not zero."""
    generator = tiny.seeded(7)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_the_trained_network_is_the_one_that_comfyui_runs(network, wan_weights):
    with training_mode(), torch.no_grad():
        out = velocity(network(), X, SIGMA, CONTEXT)
    with torch.no_grad():
        expected = tiny.wan_model(wan_weights).model.diffusion_model(X, 1000 * SIGMA, CONTEXT)
    assert torch.allclose(out, expected, atol=2e-5)


def test_one_level_is_the_network_with_a_scalar_timestep(network):
    with training_mode(), torch.no_grad():
        out = velocity(network(), X, SIGMA[:, :1], CONTEXT)
        expected = velocity(network(), X, SIGMA[:, :1].expand(2, 3), CONTEXT)
    assert torch.allclose(out, expected, atol=2e-5)


def test_training_mode_ends(network):
    with pytest.raises(RuntimeError), training_mode():
        assert comfy.model_management.in_training
        raise RuntimeError
    assert not comfy.model_management.in_training


@pytest.mark.parametrize("full", [False, True])
def test_gradient_checkpointing_changes_no_gradient(network, full):
    results = []
    for checkpointing in (False, True):
        made = network(full)
        if not full:
            add_lora(made, 4)
            randomise(made)
        results.append(gradients(made, checkpointing))
    (out, plain), (again, checkpointed) = results
    assert torch.equal(out, again) and plain.keys() == checkpointed.keys() and len(plain) > 20
    for name in plain:  # up to the order of the sums
        assert torch.allclose(plain[name], checkpointed[name], rtol=0, atol=1e-5 * plain[name].abs().max()), name


def test_every_weight_gets_a_gradient_in_full_training(network):
    _, found = gradients(network(full=True))
    assert len(found) == len(tiny.wan_weights()) and all(gradient is not None and gradient.any() for gradient in found.values())


def test_bf16_runs_the_linear_layers_in_bf16_over_float32_weights(network):
    made, seen = network(full=True), {}

    def note(name):
        def hook(module, inputs, output):
            seen[name] = output.dtype

        return hook

    for name, module in made.named_modules():
        if isinstance(module, torch.nn.Linear) or name == "blocks.1":
            module.register_forward_hook(note(name))
    _, found = gradients(made, autocast=True)
    assert seen.pop("blocks.1") == torch.float32  # the residual stream
    assert set(seen.values()) == {torch.bfloat16} and len(seen) > 20
    assert {tensor.dtype for tensor in (*made.parameters(), *found.values())} == {torch.float32}


def test_bf16_activations(wan_weights):
    made = load_weights({name: weight.bfloat16() for name, weight in wan_weights.items()})
    add_lora(made, 4)
    out, found = gradients(made, checkpointing=True, autocast=True, x=X.bfloat16(), context=CONTEXT.bfloat16())
    assert out.dtype == torch.bfloat16 and torch.isfinite(out).all()
    assert {gradient.dtype for gradient in found.values()} == {torch.float32} and any(each.any() for each in found.values())


def test_a_new_lora_changes_nothing(network):
    made, plain = network(), network()
    add_lora(made, 4)
    with training_mode(), torch.no_grad():
        assert torch.equal(velocity(made, X, SIGMA, CONTEXT), velocity(plain, X, SIGMA, CONTEXT))


def test_a_lora_is_on_the_official_targets_and_trains_alone(network):
    made = network()
    add_lora(made, 4)
    keys = {f"diffusion_model.{module}.lora_{factor}.default.weight" for module in MODULES for factor in "AB"}
    tensors = lora_tensors(made)
    assert tensors.keys() == keys
    trained = [name for name, parameter in made.named_parameters() if parameter.requires_grad]
    assert len(trained) == len(keys) and all(".lora_" in name for name in trained)
    assert tensors["diffusion_model.blocks.0.ffn.0.lora_A.default.weight"].shape == (4, 128)
    assert tensors["diffusion_model.blocks.0.ffn.0.lora_B.default.weight"].shape == (256, 4)


def test_the_start_is_kaiming_and_zero_and_follows_the_seed(network):
    made = []
    for seed in (0, 0, 1):
        made.append(network())
        add_lora(made[-1], 64, seed=seed)
    first, again, other = (lora_tensors(each) for each in made)
    for key in first:
        assert torch.equal(first[key], again[key])
        if "lora_B" in key:
            assert not first[key].any()
        else:
            bound = first[key].shape[1] ** -0.5
            assert not torch.equal(first[key], other[key])
            assert 0.95 * bound < first[key].abs().max() <= bound
            assert first[key].std() == pytest.approx(bound / 3**0.5, rel=0.05)
    a = [value for key, value in first.items() if "self_attn" in key and "lora_A" in key]
    assert not torch.equal(a[0], a[1])


def test_targets_can_be_chosen(network):
    made = network()
    add_lora(made, 4, targets=("self_attn.q", "ffn.2"))
    assert {key.split(".lora_")[0].removeprefix("diffusion_model.") for key in lora_tensors(made)} == {
        f"blocks.{block}.{module}" for block in range(2) for module in ("self_attn.q", "ffn.2")
    }


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"rank": 0}, "`rank` is 0"),
        ({"rank": 4, "alpha": -1.0}, "`alpha` -1.0"),
        ({"rank": 4, "targets": ("q", "to_k")}, "to_k is no linear layer of the blocks, which have cross_attn.k,"),
    ],
)
def test_a_lora_that_cannot_be_made_is_refused(network, arguments, words):
    made = network()
    with pytest.raises(InputError, match=words):
        add_lora(made, **arguments)
    assert not lora_tensors(made)


def test_a_second_lora_is_refused(network):
    made = network()
    add_lora(made, 4)
    with pytest.raises(InputError, match="has LoRA layers already"):
        add_lora(made, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_base_of_any_dtype_takes_a_lora(tmp_path, wan_weights, dtype):
    weights = {name: weight.to(dtype) for name, weight in wan_weights.items()}
    save_file(weights, tmp_path / "wan.safetensors", {"about": "this"})
    base = load_base(tmp_path / "wan.safetensors")
    assert base.metadata["about"] == "this" and base.network.blocks[0].ffn[0].weight.dtype == dtype
    add_lora(base.network, 4)
    a = lora_tensors(base.network)["diffusion_model.blocks.0.self_attn.q.lora_A.default.weight"]
    assert len(a.unique()) == a.numel()  # not rounded to the dtype of the base
    out, found = gradients(base.network)
    rounded = load_weights({name: weight.float() for name, weight in weights.items()})
    with training_mode(), torch.no_grad():
        assert torch.allclose(out, velocity(rounded, X, SIGMA, CONTEXT), atol=2e-5)
    assert all(gradient.dtype == torch.float32 for gradient in found.values()) and len(found) == 2 * len(MODULES)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_an_fp8_base_keeps_what_its_file_holds_in_more(wan_weights, prefix):
    """As such files are: matrices in fp8, norms, biases and modulation in float32."""
    mixed = {prefix + name: weight.to(torch.float8_e4m3fn) if weight.ndim == 2 else weight for name, weight in wan_weights.items()}
    made = load_weights(mixed)
    assert {made.blocks[0].ffn[0].weight.dtype, made.blocks[0].modulation.dtype} == {torch.float8_e4m3fn, torch.float32}
    rounded = {name.removeprefix(prefix): weight.float() for name, weight in mixed.items()}
    with training_mode(), torch.no_grad():
        assert torch.allclose(velocity(made, X, SIGMA, CONTEXT), velocity(load_weights(rounded), X, SIGMA, CONTEXT), atol=2e-5)


def test_a_base_in_scaled_fp8_takes_a_lora(wan_weights):
    weights, rounded = {}, {}
    for name, weight in wan_weights.items():
        if name.startswith("blocks.") and weight.ndim == 2:
            scale = weight.abs().max() / 448
            weights[name] = (weight / scale).to(torch.float8_e4m3fn)
            weights[name.removesuffix("weight") + "scale_weight"] = scale
            rounded[name] = weights[name].float() * scale
        else:
            weights[name] = rounded[name] = weight
    weights["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    made = load_weights(weights)
    add_lora(made, 4)
    out, found = gradients(made)
    with training_mode(), torch.no_grad():
        expected = velocity(load_weights(rounded), X, SIGMA, CONTEXT)
    assert (out - expected).abs().max() < 0.02 * expected.abs().max()
    assert len(found) == 2 * len(MODULES) and all(gradient is not None for gradient in found.values())
    with pytest.raises(InputError, match="is quantised, so its weights cannot be trained"):
        load_weights(weights, full=True)


def test_files_that_are_no_wan_text_to_video_model_are_refused(tmp_path, wan_weights):
    with pytest.raises(InputError, match="there is no file"):
        load_base(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="cannot be read as a model"):
        load_base(tmp_path / "text.safetensors")
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not know what kind of model other.safetensors is"):
        load_base(tmp_path / "other.safetensors")
    parts = {name: weight for name, weight in tiny.wan_weights().items() if ".ffn." not in name}
    with pytest.raises(InputError, match="does not know what kind of model the state dict is"):
        load_weights(parts)
    with pytest.raises(InputError, match="image-to-video"):
        load_weights(tiny.wan_weights(channels=36, model_type="i2v", out_dim=16))


def test_the_default_targets_are_the_official_ones():
    assert WAN.targets == ("q", "k", "v", "o", "ffn.0", "ffn.2")
