"""SkyReels-V2 Diffusion Forcing: the official runs that need no schedule, and the frame rate that its 1.3B is told."""

import json

import comfy.latent_formats
import comfy.sample
import comfy.samplers
import folder_paths
import golden
import pytest
import sampled
import tiny
import torch
from comfy.ldm.wan.model import sinusoidal_embedding_1d
from pusa.nodes import PusaModelLoader, loaders
from pusa.pusa_model import sampling, timeline
from pusa.pusa_model.families.lookup import of_model
from pusa.pusa_model.families.table import WAN
from pusa.pusa_model.lora.on_model import has_unknown_loras
from pusa.pusa_model.storage.identity import identity, is_lasting
from safetensors.torch import load_file, save_file

FOLDER = golden.FOLDER / "skyreels"
FORMAT = comfy.latent_formats.Wan21()
SYNCHRONOUS = [
    (task, variant)
    for task in json.loads((FOLDER / "index.json").read_text())["tasks"]
    for variant, about in json.loads((FOLDER / f"{task}.json").read_text())["variants"].items()
    if about["sched"] == "euler" and about["ar"] == 0 and not about.get("addnoise")
]


def velocity(network, x, levels, prompt):
    return network(x, levels, prompt[0][0])


def official_loop(network, start, given, sigmas, prompt, told):
    """SkyReels' loop with Euler steps, clean given frames at the front, and timesteps told in its way."""
    x, count = start.clone(), given.shape[2]
    for sigma, following in zip(sigmas, sigmas[1:]):
        x[:, :, :count] = given
        timesteps = torch.full(x.shape[2:3], float(told(sigma)))
        timesteps[:count] = 0
        x = x + (following - sigma) * velocity(network, x, timesteps[None], prompt)
        x[:, :, :count] = given
    return x


@pytest.mark.parametrize("task, variant", SYNCHRONOUS)
def test_official_hops_that_need_no_schedule(task, variant):
    """Every hop of ours against the official loop with timesteps that are not cut to integers; that loop is the stored run."""
    tensors, prompts = load_file(FOLDER / f"{task}.safetensors"), load_file(FOLDER / "prompts.safetensors")
    model, sigmas = tiny.wan_model(golden.weights()), tensors["sigmas"]
    positive, negative = ([[prompts[name].float(), {}]] for name in ("ctx_pos", "ctx_neg"))
    network = model.model.diffusion_model
    official = given = tensors["given"]
    hops = sorted({key.split("/")[1] for key in tensors if key.startswith(f"{variant}/hop")})
    whole = []
    with torch.inference_mode():
        for hop in hops:
            start, count = tensors[f"{variant}/{hop}/start"], given.shape[2]
            official = official_loop(network, start, official, sigmas, positive, lambda sigma: int(1000 * sigma))
            whole.append(official if not whole else official[:, :, count:])
            reference = official_loop(network, start, given, sigmas, positive, lambda sigma: 1000 * sigma)
            latent = {"samples": torch.zeros_like(start)}
            frames = FORMAT.process_out(given)
            condition = timeline.latent_frames(latent["samples"], frames, f"0-{count - 1}", "0")
            ours, target = sampling.prepare(model, latent, condition, 8.0)
            euler = comfy.samplers.sampler_object("euler")
            result = comfy.sample.sample_custom(ours, start, 1.0, euler, sigmas, positive, negative, target["samples"])
            assert float((FORMAT.process_in(result) - reference).abs().max()) < 1e-4
            given, official = reference[:, :, -count:], official[:, :, -count:]
    assert float((torch.cat(whole, dim=2) - tensors[f"{variant}/final"]).abs().max()) < 1e-4


def fps_tensors(width=tiny.WIDTH, seed=6):
    shapes = {"fps_embedding.weight": (2, width), "fps_projection.0.weight": (width, width), "fps_projection.0.bias": (width,)}
    shapes |= {"fps_projection.2.weight": (6 * width, width), "fps_projection.2.bias": (6 * width,)}
    generator = tiny.seeded(seed)
    return {key: torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for key, shape in shapes.items()}


@pytest.fixture
def load(tmp_path, monkeypatch, wan_weights):
    """Load Model (Pusa) on a file with these tensors beside those of Wan, without a LoRA."""

    def loaded(name="SkyReels-V2-DF-1.3B-540P.safetensors", extra=None, **widgets):
        save_file(wan_weights | (fps_tensors() if extra is None else extra), tmp_path / name)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(tmp_path)], {".safetensors"}))
        monkeypatch.setattr(folder_paths, "filename_list_cache", {})
        return PusaModelLoader.execute(name, "default", "none", 1.4, **widgets).result[0]

    return loaded


def official_modulations(network, weights, rate, timesteps):
    """SkyReels' own: the embedding of the frame rate, added to the six modulations of every frame."""
    told = weights["fps_embedding.weight"][0 if rate == 16 else 1]
    first = torch.nn.functional.linear(told, weights["fps_projection.0.weight"], weights["fps_projection.0.bias"])
    second = torch.nn.functional.silu(first) @ weights["fps_projection.2.weight"].T + weights["fps_projection.2.bias"]
    embedded = network.time_embedding(sinusoidal_embedding_1d(network.freq_dim, timesteps))
    return torch.nn.Sequential.forward(network.time_projection, embedded) + second


@pytest.mark.parametrize("rate", [16, 24])
def test_the_frame_rate_is_added_to_every_modulation(load, wan, positive, negative, rate):
    latent, weights = sampled.empty(), fps_tensors()
    given = sampled.given(latent, "0", "0")
    result = sampled.run(load(fps=str(rate)), positive, negative, latent, given)
    network, stock = wan.model.diffusion_model, wan.model.diffusion_model.time_projection.forward
    timesteps = torch.tensor([0.0, 333.0])
    plain = stock(network.time_embedding(sinusoidal_embedding_1d(network.freq_dim, timesteps)))
    added = official_modulations(network, weights, rate, timesteps) - plain
    network.time_projection.forward = lambda embedded: stock(embedded) + added[0]
    reference = sampled.run(wan, positive, negative, latent, given)
    assert torch.allclose(added[0], added[1], atol=1e-5) and torch.allclose(result, reference, atol=2e-5)
    network.time_projection.forward = stock
    assert not torch.allclose(result, sampled.run(wan, positive, negative, latent, given), atol=1e-2)


def test_the_two_rates_differ_and_24_is_what_is_not_asked_for(load, positive, negative):
    runs = [sampled.run(load(**widgets), positive, negative, sampled.empty()) for widgets in ({}, {"fps": "24"}, {"fps": "16"})]
    assert torch.equal(*runs[:2]) and not torch.allclose(*runs[1:], atol=1e-2)


def test_a_file_without_the_embedding_is_told_none(load, wan, positive, negative):
    runs = [sampled.run(model, positive, negative, sampled.empty()) for model in (load(extra={}, fps="16"), wan)]
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    "name, extra, widgets, family, rate",
    [
        ("SkyReels-V2-DF-1.3B-540P.safetensors", None, {}, "SkyReels-V2 Diffusion Forcing", 24),
        ("any_name.safetensors", None, {"fps": "16"}, "SkyReels-V2 Diffusion Forcing", 16),
        ("Wan2_1-SkyReels-V2-DF-14B-720P_fp16.safetensors", {}, {}, "SkyReels-V2 Diffusion Forcing", 24),
        ("Wan2_1-SkyReels-V2-T2V-14B.safetensors", {}, {}, WAN.name, 16),
        ("wan2.1_t2v_14B.safetensors", {}, {}, WAN.name, 16),
    ],
)
def test_it_is_known_by_its_embedding_or_by_the_name_of_its_file(load, name, extra, widgets, family, rate):
    found = of_model(load(name, extra, **widgets))
    assert (found.name, found.rate) == (family, rate)


def test_no_lora_is_asked_for(load, positive, negative):
    said, latent = [], sampled.empty()
    model = load()
    sampled.run(model, positive, negative, latent, sampled.given(latent, "0", "0"), warn=said.append)
    assert not said and not has_unknown_loras(model)


def test_half_an_embedding_is_refused(load):
    part = {key: tensor for key, tensor in fps_tensors().items() if key != "fps_projection.2.bias"}
    with pytest.raises(ValueError, match="has `fps_embedding.weight` but not `fps_projection.2.bias`"):
        load(extra=part)


def test_an_embedding_of_another_width_is_refused(load):
    with pytest.raises(ValueError, match="the frame rate of the model file has 384 numbers, its network takes 768"):
        load(extra=fps_tensors(width=tiny.WIDTH // 2))


def test_windows_of_another_rate_are_others_and_outlive_the_process(load):
    keys = [identity(load(fps=rate)) for rate in ("16", "24", "24")]
    assert keys[1] == keys[2] != keys[0] and all(map(is_lasting, keys))


def test_its_settings_are_told_on_the_loader(load, monkeypatch):
    said = []
    monkeypatch.setattr(loaders, "say", lambda cls, text: said.append(text))
    load()
    load("wan2.1_t2v_14B.safetensors", {})
    assert said == [
        "SkyReels-V2 Diffusion Forcing: 97 frames at 24 per second; shift 8 and cfg 6 are recommended",
        "Wan2.1 (and 2.2 A14B): 81 frames at 16 per second; shift 5 and cfg 3 are recommended",
    ]
