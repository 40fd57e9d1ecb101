"""Models that cannot take one timestep per latent frame are refused by name, before anything is loaded."""

import comfy.model_management
import comfy.model_patcher
import pytest
import sampled
import tiny
import torch
from comfy.supported_models import SD15
from pusa.pusa_model import patch, sampling
from pusa.pusa_model.families.lookup import check_model
from pusa.schedulers import InputError
from relatives import causal_model
from sampled import empty, given, run


def test_a_model_that_takes_no_vector_is_refused_by_name_before_it_is_loaded(positive, negative, monkeypatch):
    model, latent = causal_model(), empty()
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    with pytest.raises(InputError, match="a causal autoregressive Wan: .* cache"):
        run(model, positive, negative, latent, given(latent, "0", "0.2"))
    with pytest.raises(InputError, match="Wan2.1-T2V"):
        sampling.prepare(model, latent, given(latent, "0", "0.2"), 5.0)


def test_a_model_that_is_no_wan_is_refused_by_name():
    size = {"model_channels": 32, "in_channels": 4, "out_channels": 4, "num_res_blocks": [1], "channel_mult": [1], "num_heads": 1}
    depth = {"transformer_depth": [0], "transformer_depth_middle": -1, "transformer_depth_output": [0, 0], "context_dim": 8}
    config = SD15(size | depth | {"use_spatial_transformer": True, "legacy": False, "image_size": 8, "adm_in_channels": None})
    config.set_inference_dtype(torch.float32, None)
    network = config.get_model({}, "", device="cpu")
    model = comfy.model_patcher.ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(InputError, match="not a Wan model"):
        check_model(model)


def test_a_network_that_was_put_into_torch_compile_is_a_wan(wan):
    model = wan.clone()
    model.add_object_patch("diffusion_model", torch.compile(wan.model.diffusion_model))
    check_model(model)


def test_a_pair_of_two_sizes_is_refused(wan, positive, negative):
    deeper = tiny.wan_model(tiny.wan_weights(layers=3))
    with pytest.raises(InputError, match="not a pair"):
        run(wan, positive, negative, empty(), model_low=deeper)


def test_one_model_for_both_experts_is_refused(wan, positive, negative):
    with pytest.raises(InputError, match="are the same model"):
        run(wan, positive, negative, empty(), model_low=wan.clone())


def test_the_low_model_is_checked_too(wan, positive, negative):
    with pytest.raises(InputError, match="`model_low` is a causal autoregressive Wan"):
        run(wan, positive, negative, empty(), model_low=causal_model())


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 0}, "`steps` is 0; it must be 1 or more"),
        ({"shift": 0.0}, "`shift`"),
        ({"shift": float("nan")}, "`shift`"),
        ({"denoise": 0.0}, "`denoise`"),
        ({"denoise": 1.5}, "`denoise`"),
        ({"scheduler": "official"}, "no scheduler `official`.*flow_match"),
        ({"sampler_name": "flowmatch_pusa"}, "no sampler `flowmatch_pusa`.*euler"),
        ({"boundary": 1.5}, "`boundary`"),
    ],
)
def test_settings_that_cannot_be_used_are_told_before_loading(wan, positive, negative, changes, words, monkeypatch):
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    with pytest.raises(InputError, match=words):
        run(wan, positive, negative, empty(), **({"model_low": tiny.wan_model(tiny.wan_weights(10))} | changes))


def test_an_image_latent_is_told(wan):
    with pytest.raises(InputError, match="five axes"):
        given({"samples": torch.zeros(1, 16, 8, 8)}, "0", "0.2", frames=sampled.random_frames(1))


def test_the_patch_is_not_built_for_a_condition_that_asks_nothing(wan):
    latent = empty()
    assert patch.apply_condition(wan, given(latent, "0", "1")).wrappers == wan.wrappers
