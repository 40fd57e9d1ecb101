"""Given frames that are shown with fresh noise in every step: the official runs of two hops, and the loop by hand."""

import json

import golden
import pytest
import tiny
import torch
from comfy_extras import nodes_custom_sampler as custom
from pusa.nodes import PusaLatentFrames
from pusa.pusa_model.paths import renoise
from pusa.schedulers import flow_match_sigmas
from safetensors.torch import load_file
from sampled import FORMAT, advanced, empty, random_frames, run, scheduled

FOLDER = golden.FOLDER / "skyreels"
LATENT = empty()
TASKS = [
    task
    for task in json.loads((FOLDER / "index.json").read_text())["tasks"]
    if any(about.get("addnoise") for about in json.loads((FOLDER / f"{task}.json").read_text())["variants"].values())
]
HOPS = [
    (task, variant)
    for task in TASKS
    for variant, about in json.loads((FOLDER / f"{task}.json").read_text())["variants"].items()
    if about["sched"] == "euler"
]


def official_loop(network, hop, given, sigmas, prompt, share, told):
    """SkyReels' loop with Euler steps.

    Args:
        hop: its tensors.
        given: clean frames at the front [1, 16, n, h, w].
        share: c / 1000 of addnoise_condition.
        told: what the network is told of a level.
    """
    levels = torch.cat([sigmas[(hop["step_index"].long() - 1).clamp(0, len(sigmas) - 1)], torch.zeros(1, hop["start"].shape[2])])
    x, count = hop["start"].clone(), given.shape[2]
    levels[:, :count] = 0
    for row, moving in enumerate(hop["update"].bool()):
        x[:, :, :count] = hop["shown"][row] if share else given
        timesteps = told(levels[row])
        timesteps[:count] = 1000 * share
        v = network(x, timesteps[None], prompt[0][0])
        x = x + ((levels[row + 1] - levels[row]) * moving)[None, None, :, None, None] * v
        x[:, :, :count] = given
    return x


def integers(levels):
    return (1000 * levels).int().clamp(max=999).float()


@pytest.mark.parametrize("task, variant", HOPS)
def test_official_hops(task, variant, monkeypatch):
    """Every hop through the nodes with the official draws, against the loop that is the stored run where it is told integers."""
    about = json.loads((FOLDER / f"{task}.json").read_text())["variants"][variant]
    tensors, prompts = load_file(FOLDER / f"{task}.safetensors"), load_file(FOLDER / "prompts.safetensors")
    sigmas, share = tensors["sigmas"], about["addnoise"] / 1000
    positive, negative = ([[prompts[name].float(), {}]] for name in ("ctx_pos", "ctx_neg"))
    model = tiny.wan_model(golden.weights())
    network, whole, given = model.model.diffusion_model, [], tensors["given"]
    official = given
    for name in sorted({key.split("/")[1] for key in tensors if key.startswith(f"{variant}/hop")}):
        hop = {key.split("/")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{variant}/{name}/")}
        count = given.shape[2]
        with torch.inference_mode():
            official = official_loop(network, hop, official, sigmas, positive, share, integers)
            whole.append(official if not whole else official[:, :, count:])
            if share:  # the official draws, about the frames that this hop is given
                fresh = (hop["shown"] - (1 - share) * (tensors["given"] if name == "hop0" else whole[0][:, :, -count:])) / share
                hop["shown"] = (1 - share) * given + share * fresh
                monkeypatch.setattr(renoise, "fresh_noise", lambda like, seed, row, frame, fresh=fresh: fresh[row][:, :, frame])
            expected = official_loop(network, hop, given, sigmas, positive, share, lambda levels: 1000 * levels)
        latent = {"samples": torch.zeros_like(hop["start"])}
        frames, choice = {"samples": FORMAT.process_out(given)}, "always" if share else "once"
        condition = PusaLatentFrames.execute(latent, frames, f"0-{count - 1}", f"{share:g}", renoise=choice)[0]
        lag = {"lag": about["ar"], "block": about.get("block", 1)}
        planned, clock = scheduled(condition=condition, latent=latent, sigmas=sigmas, **lag)
        assert len(clock) == len(hop["update"]) + 1
        result = advanced(model, planned, clock, positive, negative, latent, noise=hop["start"])
        assert (FORMAT.process_in(result) - expected).abs().max() < 1e-4
        given, official = expected[:, :, -count:], official[:, :, -count:]
    assert (torch.cat(whole, dim=2) - tensors[f"{variant}/final"]).abs().max() < 1e-4


def loop_with_fresh_noise(model, condition, start, clean, clock, prompt, seed, until):
    """The plain loop with frames that are shown with fresh noise and told its level."""
    x, network, m = start.clone(), model.model.diffusion_model, dict(zip(condition.positions, condition.multipliers))
    with torch.inference_mode():
        for row, (level, following) in enumerate(zip(clock, clock[1:])):
            told = torch.full((1, x.shape[2]), float(level))
            for index, frame in enumerate(m):
                share = m[frame] if row < until else 0.0
                told[0, frame] = share
                x[:, :, frame] = (1 - share) * clean[:, :, index] + share * renoise.fresh_noise(
                    clean[:, :, index], seed, row, frame
                )
            x = x + (following - level) * network(x, 1000 * told, prompt[0][0])
    return x


@pytest.mark.parametrize("choice, until", [("always", 99), ("steps", 2)])
def test_given_frames_with_fresh_noise(wan, positive, negative, choice, until):
    """Shown at m in every row, told m, returned as they are; the free frames are those of the loop that does it by hand."""
    frames = random_frames(2)
    condition = PusaLatentFrames.execute(LATENT, {"samples": frames}, "0, 1", "0.02, 0.3", renoise=choice, renoise_steps=2)[0]
    result = run(wan, positive, negative, LATENT, condition)
    start = custom.Noise_RandomNoise(7).generate_noise(LATENT)
    expected = loop_with_fresh_noise(wan, condition, start, FORMAT.process_in(frames), flow_match_sigmas(4), positive, 7, until)
    assert torch.equal(result[:, :, :2], frames)
    assert (FORMAT.process_in(result) - expected)[:, :, 2:].abs().max() < 1e-4
    assert torch.equal(run(wan, positive, negative, LATENT, condition), result)
    other = run(wan, positive, negative, LATENT, condition, seed=8)
    assert not torch.equal(other[:, :, 2:], result[:, :, 2:])
    for sampler_name in ("heun", "euler_ancestral"):
        again = run(wan, positive, negative, LATENT, condition, sampler_name=sampler_name, cfg=3.0)
        assert again.isfinite().all() and torch.equal(again[:, :, :2], frames)


def test_once_is_what_it_was(wan, positive, negative):
    frames = {"samples": random_frames(1)}
    before = PusaLatentFrames.execute(LATENT, frames, "0", "0.3")[0]
    named = PusaLatentFrames.execute(LATENT, frames, "0", "0.3", renoise="once", renoise_steps=5)[0]
    assert torch.equal(run(wan, positive, negative, LATENT, named), run(wan, positive, negative, LATENT, before))
    free = PusaLatentFrames.execute(LATENT, frames, "0", "1", renoise="always")[0]
    assert torch.equal(run(wan, positive, negative, LATENT, free), run(wan, positive, negative, LATENT))
