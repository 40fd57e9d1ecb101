"""Levels under every sampler, measured on a network whose answer is known: for data from N(0, 1), latent = (1-s) z + s eps,

    v(x, s) = E[eps - z | x] = x (2s - 1) / ((1 - s)^2 + s^2)        x(s) / x(s') = std(s) / std(s')

so the exact path of every frame is known in closed form, and how far a frame is from its level can be read off exactly.
"""

import comfy.latent_formats
import comfy.samplers
import pytest
import torch
from pusa.pusa_model import sampling
from pusa.pusa_model.paths import own_path
from pusa.pusa_model.timeline import placing as timeline

FORMAT = comfy.latent_formats.Wan21()
MULTIPLIERS = torch.tensor([0, 0.2, 0.5, 0.8, 1])
SHAPE = (1, 16, len(MULTIPLIERS), 8, 8)
LATENT = {"samples": torch.zeros(SHAPE)}
SEED = 11
NOISY = [name for name in comfy.samplers.SAMPLER_NAMES if own_path.needs_own_path(comfy.samplers.sampler_object(name))]
QUIET = [name for name in comfy.samplers.SAMPLER_NAMES if name not in NOISY]


def std(level):
    return ((1 - level) ** 2 + level**2) ** 0.5


def clean_frames() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))[:, :, :-1]


def exact_path(levels: torch.Tensor) -> torch.Tensor:
    """Where every frame of this file's run is at its level, shape [T]."""
    m, s = (each[None, None, :, None, None] for each in (MULTIPLIERS, levels))
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED))
    z = torch.cat([clean_frames(), torch.zeros(1, 16, 1, 8, 8)], dim=2)
    return ((1 - m) * z + m * noise) * std(s) / std(m)


def distance(x: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Root mean square distance from the exact path as a share of the spread that belongs to the level, shape [T]."""
    return (x - exact_path(levels)).square().mean(dim=(0, 1, 3, 4)).sqrt() / std(levels)


@pytest.fixture
def exact(wan):
    """The tiny Wan with its transformer replaced by the exact velocity; notes how far each call is from the exact path."""
    distances = []

    def forward(x, t, *args, **kwargs):
        level = (t / 1000).reshape(t.shape[0], 1, -1, 1, 1)
        distances.append(distance(x[:1], level[0].flatten().expand(SHAPE[2])))
        return x * (2 * level - 1) / std(level) ** 2

    wan.model.diffusion_model.forward_orig = forward
    return wan, distances


def given():
    noise = ", ".join(str(m.item()) for m in MULTIPLIERS[:-1])
    return timeline.latent_frames(LATENT["samples"], FORMAT.process_out(clean_frames()), "0-3", noise)


def sample(model, sampler_name: str, steps: int, positive, negative, condition) -> dict:
    return sampling.sample(
        model,
        positive,
        negative,
        LATENT,
        seed=SEED,
        steps=steps,
        cfg=1.0,
        shift=5.0,
        sampler_name=sampler_name,
        scheduler="flow_match",
        denoise=1.0,
        condition=condition,
    )


def run(model, sampler_name: str, steps: int, positive, negative) -> torch.Tensor:
    """Distance of the result from the exact path, shape [T]."""
    latent = sample(model, sampler_name, steps, positive, negative, given())
    grid = sampling.flow_match_sigmas(steps, 5.0)
    last = grid[-2] if sampler_name in ("dpm_fast", "dpm_adaptive") else grid[-1]  # these two stop before 0, in ComfyUI too
    return distance(FORMAT.process_in(latent["samples"]), MULTIPLIERS * last)


@pytest.mark.parametrize("sampler_name", NOISY)
def test_condition_frames_keep_their_level_under_noisy_samplers(exact, positive, negative, sampler_name):
    """In every call of the network and at the end, within 3 % of the spread that belongs to the level."""
    model, distances = exact
    result = run(model, sampler_name, 30, positive, negative)
    for found in (*distances, result):
        assert found[0] < 1e-6 and (found[1:3] < 0.03).all()


@pytest.mark.parametrize("sampler_name", NOISY)
def test_the_own_path_is_at_least_as_exact_as_euler(exact, positive, negative, sampler_name):
    model, _ = exact
    euler, noisy = (run(model, name, 12, positive, negative)[:-1] for name in ("euler", sampler_name))
    assert (noisy <= euler + 1e-4).all()


@pytest.mark.parametrize("sampler_name", NOISY)
def test_free_frames_keep_the_sampler_that_was_chosen(exact, positive, negative, sampler_name):
    """In this network no frame sees another: a free one ends where it ends without a condition."""
    model, _ = exact
    conditioned, plain = (
        sample(model, sampler_name, 5, positive, negative, condition)["samples"][:, :, -1] for condition in (given(), None)
    )
    assert torch.allclose(conditioned, plain, atol=1e-4)


@pytest.mark.parametrize("sampler_name", ["heun", "heunpp2", "dpm_2", "dpmpp_2m", "res_multistep", "ipndm", "deis", "uni_pc"])
def test_condition_frames_keep_the_order_of_a_sampler_that_is_better_than_euler(exact, positive, negative, sampler_name):
    model, _ = exact
    euler, better = (run(model, name, 20, positive, negative)[1:-1] for name in ("euler", sampler_name))
    assert (better < 0.7 * euler).all()


@pytest.mark.parametrize("sampler_name", QUIET)
def test_deterministic_samplers_follow_the_exact_path_of_every_frame(exact, positive, negative, sampler_name):
    """For every multiplier the error is that of the sampler's order: it falls with the steps, and is small at 40."""
    model, _ = exact
    coarse, fine = (run(model, sampler_name, steps, positive, negative) for steps in (10, 40))
    assert (fine[0] < 1e-6).all() and (fine[1:] < 0.07).all()
    assert (fine[1:] < 0.6 * coarse[1:] + 3e-3).all()
