"""ComfyUI's MultiGPU CFG Split and Select Model Device, with a second CPU device in place of a second GPU.

What the nodes do to a model is done here with ComfyUI's own parts, as they find no second device on a CPU. Tensors of both
devices are equal to PyTorch; that all of them are moved is held by test_second_device.py.
"""

import comfy.multigpu
import comfy.sd
import pytest
import tiny
import torch
from comfy.context_windows import ContextSchedules
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from pusa.pusa_model.lora.load import load_lora
from pusa.pusa_model.patch import apply_condition
from relatives import model_of
from safetensors.torch import save_file
from sampled import empty, given, run, watch_network

SECOND = torch.device("cpu", 1)
MOST = 5e-5  # of latents of standard deviation 1 to 4; 1e-5 was seen
LATENT = empty(5, size=8)
WORDS = (tiny.prompt(3), tiny.prompt(4))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two experts and a LoRA on disk, from where ComfyUI reads a model once more for another device."""
    folder = tmp_path_factory.mktemp("experts")
    for name, weights in (("high", tiny.wan_weights(0)), ("low", tiny.wan_weights(10)), ("lora", tiny.lora_weights())):
        save_file(weights, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def expert(files):
    """Load one of them, in float32."""
    return lambda name: comfy.sd.load_diffusion_model(str(files / f"{name}.safetensors"), {"dtype": torch.float32})


def split(model):
    """MultiGPU CFG Split: one of both prompts goes to a network of its own, on the second device and in a second thread."""
    whole, other = model.clone(), model.deepclone_multigpu(new_load_device=SECOND)
    other.is_multigpu_base_clone = True
    whole.set_additional_models("multigpu", [other])
    whole.match_multigpu_clones()
    comfy.multigpu.GPUOptionsGroup().register(whole)
    return whole


def networks(model):
    """What both networks of a split model are called with, once it has run."""
    seen = []
    for each in (model, *model.get_additional_models_with_key("multigpu")):
        seen.append([])
        watch_network(each, seen[-1])
    return seen


def sampled(model, condition, **changes):
    return run(model, *WORDS, LATENT, condition, **({"cfg": 3.0} | changes))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "lcm"])
def test_both_prompts_beside_each_other_are_both_after_each_other(expert, sampler):
    condition = given(LATENT, "0, 2", "0, 0.3")
    alone = sampled(expert("high"), condition, sampler_name=sampler)
    model = split(expert("high"))
    seen = networks(model)
    assert (sampled(model, condition, sampler_name=sampler) - alone).abs().max() <= MOST
    assert len(seen) == 2 and all(seen)
    assert all(timesteps.shape == (1, 5) for calls in seen for _, timesteps in calls)
    assert len(seen[0]) == len(seen[1]) >= 4


def test_a_lora_behind_the_split_is_on_both_networks(expert, files):
    condition, weights = given(LATENT, "0", "0.2"), str(files / "lora.safetensors")
    alone = sampled(load_lora(expert("high"), weights, 1.4), condition)
    assert (sampled(load_lora(split(expert("high")), weights, 1.4), condition) - alone).abs().max() <= MOST
    assert (sampled(expert("high"), condition) - alone).abs().max() > 100 * MOST


def test_both_experts_can_be_split(expert):
    condition = given(LATENT, "0", "0.2")
    alone = sampled(expert("high"), condition, model_low=expert("low"))
    high, low = split(expert("high")), split(expert("low"))
    seen = [*networks(high), *networks(low)]
    assert (sampled(high, condition, model_low=low) - alone).abs().max() <= MOST
    assert len(seen) == 4 and all(seen)


def test_an_expert_on_a_device_of_its_own_changes_nothing(expert, files):
    """Select Model Device on the low-noise expert, behind its LoRA."""
    condition, weights = given(LATENT, "0", "0.2"), str(files / "lora.safetensors")
    low = load_lora(expert("low"), weights, 1.4)
    alone = sampled(expert("high"), condition, model_low=low)
    moved = low.deepclone_multigpu(new_load_device=SECOND)
    assert moved.load_device == SECOND and moved.model is not low.model
    assert moved.patches.keys() == low.patches.keys() != set()
    assert torch.equal(sampled(expert("high"), condition, model_low=moved), alone)


def test_context_windows_go_with_it(expert):
    """Windows come one after the other, and of each both prompts beside each other."""
    settings = {"context_length": 5, "context_overlap": 2, "context_stride": 1, "closed_loop": False, "fuse_method": "pyramid"}
    settings |= {"context_schedule": ContextSchedules.STATIC_STANDARD, "dim": 2, "freenoise": False, "latent_retain_index_list": ""}

    def windowed(model):
        return ContextWindowsManualNode.execute(model, **settings, causal_window_fix=True)[0]

    latent = empty(9, size=8)
    condition = given(latent, "0, 6", "0, 0.3")
    alone = run(windowed(expert("high")), *WORDS, latent, condition, cfg=3.0)
    model = windowed(split(expert("high")))
    seen = networks(model)
    assert (run(model, *WORDS, latent, condition, cfg=3.0) - alone).abs().max() <= MOST
    assert all(seen) and {x.shape[2] for calls in seen for x, _ in calls} == {5, 6}  # with a frame in front of all but the first


@pytest.mark.parametrize("name", ["VACE", "Camera"])
def test_forwards_that_are_exchanged_are_those_of_their_own_network(name):
    """Else the second GPU would compute with weights of the first. A condition in front of the split and one behind it."""
    build = model_of.__wrapped__
    model = build(name)
    model.cached_patcher_init = (build, (name,))
    condition = given(LATENT, "0", "0")
    in_front, behind = split(apply_condition(model, condition)), apply_condition(split(model), condition)
    behind.match_multigpu_clones()
    for whole in (in_front, behind):
        (other,) = whole.get_additional_models_with_key("multigpu")
        assert whole.object_patches.keys() == other.object_patches.keys() != set() and other.model is not whole.model
        for each in (whole, other):
            own = {id(module) for module in each.model.modules()}
            assert all(id(patch.args[0]) in own for patch in each.object_patches.values())
