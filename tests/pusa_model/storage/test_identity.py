"""What a MODEL or a VAE is: the same for equal content, another for any other, of this process alone where it cannot be told."""

import math

import comfy.hooks
import folder_paths
import nodes
import pytest
import tiny
import torch
from comfy.patcher_extension import WrappersMP
from comfy.quant_ops import QuantizedTensor
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from pusa.pusa_model.lora.load import load_lora
from pusa.pusa_model.storage import identity as identity_module
from pusa.pusa_model.storage.identity import Unstorable, environment, identity, is_lasting, process_token, sampler_functions
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """Path of a LoRA file, by its seed."""
    folder = tmp_path_factory.mktemp("loras")

    def path(seed):
        save_file(tiny.lora_weights(seed), folder / f"{seed}.safetensors")
        return str(folder / f"{seed}.safetensors")

    return path


def quiet(text):
    pass


def test_equal_content_is_equal_and_lasting(wan_weights, vae, lora):
    """New objects of the same file, clones, and whatever is loaded at the moment."""
    first, second = (load_lora(tiny.wan_model(wan_weights), lora(2), 1.4, quiet) for _ in range(2))
    known = identity(first)
    assert is_lasting(known) and identity(second) == identity(first.clone()) == known
    assert identity(tiny.vae()) == identity(vae) and is_lasting(identity(vae))
    second.patch_model(torch.device("cpu"))
    other = tiny.wan_model(wan_weights)
    assert second.backup and identity(second) == known
    second.unpatch_model()
    assert identity(other) != known


def test_a_network_is_known_by_its_own_weights_while_a_lora_is_in_them(wan_weights, lora):
    model = tiny.wan_model(wan_weights)
    patched = load_lora(model, lora(2), 1.4, quiet)
    patched.patch_model(torch.device("cpu"))
    assert identity(model) == identity(tiny.wan_model(wan_weights))


def test_any_change_makes_another(wan_weights, lora):
    changed = dict(wan_weights)
    key = next(key for key in changed if key.endswith("ffn.0.weight"))
    changed[key] = changed[key].clone()
    changed[key][-1, -1] += 1
    wan, path = tiny.wan_model(wan_weights), lora(2)
    models = {
        "plain": wan,
        "one weight": tiny.wan_model(changed),
        "bf16": tiny.wan_model({key: tensor.bfloat16() for key, tensor in wan_weights.items()}),
        "a LoRA": load_lora(wan, path, 1.4, quiet),
        "another strength": load_lora(wan, path, 1.3, quiet),
        "another LoRA": load_lora(wan, lora(3), 1.4, quiet),
        "two LoRAs": load_lora(load_lora(wan, path, 1.4, quiet), lora(3), 1.4, quiet),
        "shift": ModelSamplingSD3().patch(wan, 3.0)[0],
        "another shift": ModelSamplingSD3().patch(wan, 4.0)[0],
    }
    options = wan.clone()
    options.model_options["transformer_options"]["rope_options"] = {"scale_t": 2.0}
    models["options"] = options
    names = {name: identity(model) for name, model in models.items()}
    assert len(set(names.values())) == len(names)
    assert all(is_lasting(words) for name, words in names.items() if "shift" not in name), "core's shift is not of comfy itself"


@pytest.mark.parametrize("put", ["wrapper", "object", "option"])
def test_what_is_beyond_words_is_of_this_process(wan, put):
    def function(*inputs):
        raise AssertionError

    model = wan.clone()
    if put == "wrapper":
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "x", function)
    elif put == "object":
        model.add_object_patch("diffusion_model.forward", function)
    else:
        model.set_model_unet_function_wrapper(function)
    words = identity(model)
    assert process_token() in words and not is_lasting(words)
    assert identity(model) == words != identity(model.clone()), "known as itself"


def test_a_weight_of_a_kind_that_is_not_known_makes_the_model_itself(wan_weights):
    class Packed(torch.Tensor):
        pass

    model = tiny.wan_model(wan_weights)
    module = model.model.diffusion_model.head.head
    del module.weight
    module.register_buffer("weight", wan_weights["head.head.weight"].as_subclass(Packed))
    assert not is_lasting(identity(model)) and identity(model) == identity(model)
    with pytest.raises(Unstorable):
        identity(torch.zeros(1).as_subclass(Packed))


def test_quantised_weights_are_told_apart(wan_weights):
    weight = wan_weights["head.head.weight"]
    first, same, other = (QuantizedTensor.from_float(each, "TensorCoreFP8Layout") for each in (weight, weight, -weight))
    assert identity(first) == identity(same) != identity(other) and is_lasting(identity(first))
    louder = QuantizedTensor.from_float(2 * weight, "TensorCoreFP8Layout", scale=torch.tensor(2.0))
    assert torch.equal(louder._qdata.view(torch.uint8), first._qdata.view(torch.uint8)), "another scale alone"
    assert identity(louder) != identity(first)


def test_a_file_of_the_core_loader_is_known_by_its_content_and_dtype(tmp_path, monkeypatch, wan_weights):
    for name in ("a", "b"):
        save_file(wan_weights, tmp_path / f"{name}.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})

    def loaded(name, dtype="default"):
        return identity(nodes.UNETLoader().load_unet(name, dtype)[0])

    known = loaded("a.safetensors")
    assert is_lasting(known) and loaded("b.safetensors") == known
    dtypes = ("fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")
    assert len({known, *(loaded("a.safetensors", dtype) for dtype in dtypes)}) == 4
    save_file(tiny.wan_weights(7), tmp_path / "a.safetensors")
    assert loaded("a.safetensors") != known


def test_samplers_and_schedulers_of_others_count_as_themselves(monkeypatch):
    import comfy.samplers
    from comfy.k_diffusion import sampling

    for name in comfy.samplers.SAMPLER_NAMES:
        assert not sampler_functions(name, "flow_match"), name
    for name in comfy.samplers.SCHEDULER_NAMES:
        assert not sampler_functions("euler", name), name

    def sample_theirs():
        pass

    monkeypatch.setattr(sampling, "sample_theirs", sample_theirs, raising=False)
    assert sampler_functions("theirs", "simple") == [sample_theirs]
    assert not is_lasting(identity(sampler_functions("theirs", "simple")))


def test_what_computes_is_known():
    assert is_lasting(environment()) and torch.__version__ in environment() and "'use_sage_attention': False" in environment()


def test_code_is_known_by_its_content_and_names_and_of_this_process_once_it_was_changed(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("1")
    assert identity_module._code(tmp_path, "") == process_token(), "changed since this process began"
    monkeypatch.setattr(identity_module, "_STARTED", math.inf)
    known = [identity_module._code(tmp_path, "")]
    (tmp_path / "a.py").write_text("2")
    known.append(identity_module._code(tmp_path, ""))
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    known.append(identity_module._code(tmp_path, ""))
    assert len(set(known)) == 3 and all(map(is_lasting, known))


def test_the_members_of_an_enumeration_are_told_apart():
    members = [identity(member) for member in comfy.hooks.EnumHookMode]
    assert len(set(members)) == len(members) > 1 and all(map(is_lasting, members))
