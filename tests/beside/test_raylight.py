"""Apply Condition (Pusa, raylight) on real Ray actors whose class has the functions of raylight's that nodes call.

Names, arguments and effect of the functions are read in raylight's source (1.5.1, c049571, distributed_worker/ray_worker.py);
raylight itself wants CUDA and NCCL to start an actor, and the package xfuser to be imported. Each actor here has a whole tiny Wan
on the CPU. So it is shown that the condition arrives, replaces an earlier one and samples right; not that GPUs share a clip, which
token_process.py does without Ray.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import nodes
import pytest
import tiny
import torch
from pusa.nodes import PusaApplyCondition
from pusa.nodes.sampling import PusaApplyConditionRaylight
from pusa.pusa_model.actors import raylight
from pusa.pusa_model.run import KEY
from relatives import model_of
from safetensors.torch import save_file
from sampled import empty, given, scheduled

LATENT = empty(5, size=8)
WORDS = (tiny.prompt(3), tiny.prompt(4))
SETTINGS = {"seed": 7, "steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple"}
MOST = 1e-5
FUNCTIONS = {"load_unet", "model_function_runner", "model_function_runner_get_values", "common_ksampler"}


def worker():
    """The class of the actors. It is made here so that it is sent whole, to processes that know neither tests nor pack."""

    class Worker:
        def __init__(self, tests: str) -> None:
            import sys

            sys.path.insert(0, tests)
            import host_comfyui

            host_comfyui.start()
            self.model = None

        def load_unet(self, unet_path, model_options):
            import comfy.sd

            self.model = comfy.sd.load_diffusion_model(unet_path, model_options=model_options)

        def model_function_runner(self, fn, *args, **kwargs):
            self.model = fn(self.model, *args, **kwargs)

        def model_function_runner_get_values(self, fn, *args, **kwargs):
            return fn(self.model, *args, **kwargs)

        def common_ksampler(self, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise=1.0):
            import comfy.sample
            import torch

            samples = comfy.sample.fix_empty_latent_channels(self.model, latent["samples"])
            noise, call = comfy.sample.prepare_noise(samples, seed), (steps, cfg, sampler_name, scheduler, positive, negative)
            with torch.no_grad():
                found = comfy.sample.sample(self.model, noise, *call, samples, denoise=denoise, seed=seed, disable_pbar=True)
            return (latent | {"samples": found},)

    assert FUNCTIONS <= set(dir(Worker))
    return Worker


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("wan") / "wan.safetensors"
    save_file(tiny.wan_weights(), path)
    return str(path)


@pytest.fixture(scope="module")
def actors(file):
    """RAY_ACTORS of two actors, each with the model."""
    ray = pytest.importorskip("ray")
    runtime = {"env_vars": {"OMP_NUM_THREADS": "1", "COMFYUI_PATH": os.environ["COMFYUI_PATH"]}}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    try:
        workers = [ray.remote(worker()).remote(str(Path(__file__).parent.parent)) for _ in range(2)]
        ray.get([each.load_unet.remote(file, {"dtype": torch.float32}) for each in workers], timeout=240)
        yield {"workers": workers}
    finally:
        ray.shutdown()


def by_actors(actors, latent) -> list[torch.Tensor]:
    """What each actor samples."""
    handed = [each.common_ksampler.remote(*SETTINGS.values(), *WORDS, latent) for each in actors["workers"]]
    return [each.future().result(timeout=120)[0]["samples"] for each in handed]


def by_comfyui(model, latent) -> torch.Tensor:
    """What ComfyUI's KSampler samples in this process."""
    with torch.no_grad():
        return nodes.KSampler().sample(model, *SETTINGS.values(), *WORDS, latent)[0]["samples"]


def test_actors_sample_what_apply_condition_samples_and_the_last_condition_counts(actors, wan):
    """Condition after condition on the same actors; one that is refused leaves them as they are; one of free frames is none."""
    kept = []
    for positions, noise, shift in (("0", "0", 5.0), ("0, 2", "0.3, 0.6", 3.0), ("4", "1", 5.0)):
        condition = given(LATENT, positions, noise)
        back, latent = PusaApplyConditionRaylight.execute(actors, LATENT, condition, shift).args
        expected = by_comfyui(*PusaApplyCondition.execute(wan, LATENT, condition, shift).args)
        assert back is actors
        kept.append(by_actors(actors, latent))
        assert len(kept[-1]) == 2 and all((samples - expected).abs().max() <= MOST for samples in kept[-1])
    assert (kept[0][0] - kept[1][0]).abs().max() > 100 * MOST

    longer = given(empty(7, size=8), "0", "0")
    with pytest.raises(ValueError, match="size|made for") as ours:
        PusaApplyConditionRaylight.execute(actors, LATENT, longer, 5.0)
    with pytest.raises(ValueError) as theirs:
        PusaApplyCondition.execute(wan, LATENT, longer, 5.0)
    name = PusaApplyConditionRaylight.define_schema().display_name
    assert str(ours.value) == f"{name}: {str(theirs.value).split(': ', 1)[1]}"
    assert torch.equal(by_actors(actors, LATENT)[0], kept[-1][0])


def test_without_actors_there_is_a_sentence():
    for nothing in ({}, {"workers": []}, None):
        with pytest.raises(ValueError, match=r"raylight\): .*ray_actors"):
            PusaApplyConditionRaylight.execute(nothing, LATENT, given(LATENT, "0", "0"), 5.0)


def test_it_runs_again_in_every_run():
    """ComfyUI compares fingerprints for equality, and keeps what came of the run before where they are equal."""
    assert PusaApplyConditionRaylight.fingerprint_inputs() != PusaApplyConditionRaylight.fingerprint_inputs()


@pytest.mark.parametrize("name", ["text-to-video", "VACE", "Camera"])
def test_all_of_a_condition_is_taken_off(name):
    """Also the forwards that some networks need exchanged; what other nodes have put on the model stays."""
    model, values = model_of(name).clone(), raylight.plain(given(LATENT, "0", "0"))
    model.add_object_patch("diffusion_model.another", partial(print))
    model.add_wrapper_with_key("another", "other pack", print)
    once = raylight.prepared(model.clone(), LATENT, values, 5.0, "node")
    twice = raylight.prepared(once.clone(), LATENT, values, 5.0, "node")
    assert once.object_patches.keys() == twice.object_patches.keys() > model.object_patches.keys()
    for kind, keys in once.wrappers.items():
        assert {key: len(each) for key, each in keys.items()} == {key: len(each) for key, each in twice.wrappers[kind].items()}
    raylight.take_off(twice)
    assert not [kind for put in (twice.wrappers, twice.callbacks) for kind, keys in put.items() if keys.get(KEY)]
    assert set(twice.object_patches) == {"diffusion_model.another", "model_sampling"}
    assert twice.wrappers["another"] == {"other pack": [print]}


def test_a_condition_arrives_as_it_was_sent():
    noised = replace(given(LATENT, "0, 3", "0, 0.5"), renoise=(0, 2))
    for condition in (noised, scheduled("delay", noised, LATENT)[0]):
        values = raylight.plain(condition)
        kinds = {type(each) for each in (*values.values(), *(values["recipe"] or {}).values())}
        assert kinds <= {tuple, torch.Tensor, dict, int, str, float, type(None)}
        back = raylight.from_plain(values)
        assert torch.equal(back.frames, condition.frames) and back.recipe == condition.recipe
        assert replace(back, frames=condition.frames).__dict__ == condition.__dict__


def test_it_is_there_where_raylight_is(tmp_path):
    assert not raylight.is_installed([str(tmp_path), str(tmp_path / "nowhere")])
    (tmp_path / "any-name" / "src" / "raylight").mkdir(parents=True)
    assert raylight.is_installed([str(tmp_path)])
    (tmp_path / "any-name").rename(tmp_path / "any-name.disabled")
    assert not raylight.is_installed([str(tmp_path)])
