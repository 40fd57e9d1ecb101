"""The training loop: it learns, is deterministic, and goes on after a stop as if there had been none."""

import os
import random
import signal

import numpy
import pytest
import tiny
import torch
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.data.order import Order, generator
from pusa.training.keeping.checkpoint import checkpoints, read_checkpoint
from pusa.training.loop import train
from pusa.training.method.lora import add_lora
from pusa.training.method.objective import loss, noised, target
from pusa.training.method.timesteps import draw_levels
from pusa.training.run import Run
from pusa.training.settings import Settings

FAST = {"steps": 4, "batch_size": 2, "learning_rate": 1e-3, "mixed_precision": "no", "save_every": 0}


def made(network, full=False):
    new = network(full)
    if not full:
        add_lora(new, 4)
    return new


def run(network, clips, full=False, folder=None, resume=None, **settings):
    """A fresh network after a training, and how that went."""
    new = made(network, full)
    keep = {name: settings.pop(name) for name in ("validate", "on_save", "levels", "optimizer", "about") if name in settings}
    return new, train(new, clips, Settings(**FAST | settings), folder, resume, show=False, **keep)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def stop_at(step, number=signal.SIGINT):
    """A validation that sends this process a signal, as Ctrl-C in the middle of a step does."""

    def validate(network, at):
        if at == step:
            os.kill(os.getpid(), number)

    return {"validate": validate, "validate_every": 1}


@pytest.mark.parametrize("full, timesteps, precision", [(False, "vector", "bf16"), (True, "scalar", "no")])
def test_a_few_steps_on_eight_clips_lower_the_loss(network, clips, full, timesteps, precision):
    settings = {"steps": 25, "batch_size": 8, "learning_rate": 3e-3, "timesteps": timesteps, "mixed_precision": precision}
    losses = run(network, clips, full, **settings)[1].losses
    assert len(losses) == 25 and sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(network, clips):
    first, result = run(network, clips)
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)  # what ran before has no influence
    second, again = run(network, clips)
    assert same(first, second) and result.losses == again.losses
    assert run(network, clips, seed=1)[1].losses != result.losses


def test_deterministic_kernels_are_enough(network, clips):
    plain, _ = run(network, clips)
    assert same(plain, run(network, clips, deterministic=True, gradient_checkpointing=False)[0])
    assert not torch.are_deterministic_algorithms_enabled()


def test_only_the_lora_is_trained(network, clips):
    trained, _ = run(network, clips)
    before = made(network).state_dict()
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(".lora_" in name for name in changed)
    assert sum("lora_B" in name for name in changed) == 20


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 6},
        {"steps": 6, "lr_schedule": "cosine", "warmup": 2, "accumulate": 2, "grad_clip": 0.5, "caption_dropout": 0.5}
        | {"p_async": 0.5, "weighting": "gaussian"},
    ],
    ids=["plain", "everything"],
)
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(network, clips, tmp_path, full, settings):
    whole, expected = run(network, clips, full, tmp_path / "whole", **settings)
    random.seed(5), numpy.random.seed(5), torch.manual_seed(5)
    _, stopped = run(network, clips, full, tmp_path / "parts", **settings, **stop_at(3))
    assert stopped.interrupted and stopped.step == 3 and not expected.interrupted
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    resumed, result = run(network, clips, full, tmp_path / "parts", "auto", **settings)
    assert same(whole, resumed) and result.losses == expected.losses and result.step == 6
    one, other = (read_checkpoint(checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    for state, again in zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(state[name], again[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_global_random_numbers_go_on_after_a_resume(network, clips, tmp_path):
    """Nothing of ours draws from them; a network or an optimiser may."""
    drawn = []

    def levels(*arguments):
        drawn.append((random.random(), numpy.random.rand(), torch.rand(1).item()))
        return draw_levels(*arguments)

    random.seed(3), numpy.random.seed(3), torch.manual_seed(3)
    run(network, clips, folder=tmp_path / "whole", levels=levels)
    whole, drawn[:] = list(drawn), []
    random.seed(3), numpy.random.seed(3), torch.manual_seed(3)
    run(network, clips, folder=tmp_path / "parts", levels=levels, **stop_at(2))
    random.seed(4), numpy.random.seed(4), torch.manual_seed(4)
    run(network, clips, folder=tmp_path / "parts", resume="auto", levels=levels)
    assert drawn == whole


def test_a_validation_has_no_influence(network, clips):
    seen = []

    def validate(trained, step):
        seen.append((step, torch.rand(1), random.random()))
        return {"psnr": float(step)}

    plain, _ = run(network, clips)
    watched, result = run(network, clips, validate=validate, validate_every=2)
    assert [step for step, *_ in seen] == [0, 2, 4] and same(plain, watched)
    assert result.validations == {0: {"psnr": 0.0}, 2: {"psnr": 2.0}, 4: {"psnr": 4.0}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step(network, clips, tmp_path, number):
    before = signal.getsignal(number)
    result = run(network, clips, folder=tmp_path, **stop_at(2, number))[1]
    assert result.interrupted and [path.name for path in checkpoints(tmp_path)] == ["step-00000002.pt"]
    assert signal.getsignal(number) == before


def test_a_second_signal_stops_at_once(network, clips, tmp_path):
    def validate(trained, step):
        signal.raise_signal(signal.SIGINT)  # its handler has run when this returns; two in a row from os.kill can be one
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            run(network, clips, folder=tmp_path, validate=validate, validate_every=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not checkpoints(tmp_path)


def test_checkpoints_are_whole_and_few(network, clips, tmp_path):
    saved = []
    run(network, clips, folder=tmp_path, save_every=1, keep=2, on_save=lambda trained, result: saved.append(result.step))
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000003.pt", "step-00000004.pt"]
    assert saved == [1, 2, 3, 4] and not list(tmp_path.rglob("*.part"))


def test_a_failed_write_leaves_the_last_checkpoint(network, clips, tmp_path):
    run(network, clips, folder=tmp_path, steps=2)
    (last,) = checkpoints(tmp_path)
    content = last.read_bytes()

    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, limits[1]))
    try:
        with pytest.raises(InputError, match="step-00000003.pt cannot be written: the disk takes no file of this size"):
            run(network, clips, folder=tmp_path, resume="auto", steps=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path) == [last] and last.read_bytes() == content and not list(tmp_path.rglob("*.part"))


def test_a_finished_run_can_be_made_longer(network, clips, tmp_path):
    run(network, clips, folder=tmp_path, steps=2)
    longer, _ = run(network, clips, folder=tmp_path, resume="auto", steps=4)
    assert same(longer, run(network, clips, steps=4)[0])


def test_what_would_be_another_run_is_refused(network, clips, tmp_path):
    run(network, clips, folder=tmp_path, steps=1, about={"base": "wan"})
    again = {"folder": tmp_path, "resume": "auto", "about": {"base": "wan"}}
    with pytest.raises(InputError, match="holds a run already"):
        run(network, clips, folder=tmp_path)
    with pytest.raises(InputError, match="other settings: seed"):
        run(network, clips, **again, seed=3)
    with pytest.raises(InputError, match=r"on another network: base \(wan then, other now\)\."):
        run(network, clips, **again | {"about": {"base": "other"}})
    other = EncodedDataset.from_tensors([torch.ones(16, 3, 4, 4)], [torch.ones(2, tiny.TEXT_WIDTH)], [0])
    with pytest.raises(InputError, match="on other data: the number, the order or the sizes"):
        run(network, other, **again)
    with pytest.raises(InputError, match="other trained parameters"):
        run(network, clips, full=True, **again)
    with pytest.raises(InputError, match="there is no checkpoint"):
        run(network, clips, folder=tmp_path, resume=tmp_path / "gone.pt")
    (tmp_path / "broken.pt").write_bytes(checkpoints(tmp_path)[0].read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        run(network, clips, folder=tmp_path, resume=tmp_path / "broken.pt")


def test_a_loss_that_is_not_finite_ends_the_run(network, clips):
    broken = EncodedDataset.from_tensors([torch.full((16, 3, 4, 4), torch.nan)], [torch.ones(2, tiny.TEXT_WIDTH)], [0])
    with pytest.raises(InputError, match="the loss of step 1 is nan"):
        run(network, broken)


def test_a_network_without_trainable_or_with_bf16_parameters_is_refused(network, clips):
    with pytest.raises(InputError, match="no parameter of the network is to be trained"):
        train(network(), clips, Settings(), show=False)
    with pytest.raises(InputError, match="must be float32"):
        train(network(full=True).bfloat16(), clips, Settings(), show=False)


class Scale(torch.nn.Module):
    """The smallest thing that can be trained: says its input times a number, and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x, timestep, context, transformer_options):
        self.asked = x, timestep, context
        return self.factor * x


def one_pass(clips, number=0, **settings):
    """(network, loss) of one forward pass."""
    scale = Scale()
    run = Run(scale, clips, Settings(**FAST | settings), None, None, None, draw_levels)
    return scale, run.loss(number)


@pytest.mark.parametrize("timesteps", ["vector", "scalar"])
@pytest.mark.parametrize("weighting", ["none", "gaussian", "official"])
def test_a_pass_is_the_objective(clips, timesteps, weighting):
    settings = Settings(**FAST, timesteps=timesteps, weighting=weighting, shift=3.0, seed=4)
    scale, value = one_pass(clips, 5, timesteps=timesteps, weighting=weighting, shift=3.0, seed=4)
    latents, contexts = clips.batch(Order(clips.shapes, 2, 4).batch(5))
    draws = generator("draws", 4, 5, 0)
    sigma = draw_levels(settings, 2, 3, draws)
    noise = torch.randn(latents.shape, generator=draws)
    x, timestep, context = scale.asked
    assert torch.equal(x, noised(latents, noise, sigma)) and torch.equal(context, contexts)
    assert torch.equal(timestep, 1000 * (sigma if timesteps == "vector" else sigma[:, 0]))
    assert torch.equal(value, loss(0.5 * x, target(latents, noise), sigma, weighting, 3.0))


def test_bf16_activations_reach_the_network(clips):
    x, timestep, context = one_pass(clips, activations="bf16")[0].asked
    assert (x.dtype, timestep.dtype, context.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)


def test_an_accumulated_step_is_the_mean_of_its_passes(clips):
    passes = [one_pass(clips, number) for number in (0, 1)]
    gradients = [torch.autograd.grad(value, scale.factor)[0] for scale, value in passes]
    scale = Scale()
    settings = Settings(**FAST | {"steps": 1, "accumulate": 2, "learning_rate": 1.0})
    result = train(scale, clips, settings, optimizer=lambda parameters: torch.optim.SGD(parameters), show=False)
    assert result.losses == [pytest.approx(sum(value.item() for _, value in passes) / 2)]
    assert scale.factor.item() == pytest.approx(0.5 - sum(gradients).item() / 2, rel=1e-5)


def test_the_gradient_can_be_clipped(clips):
    scale = Scale()
    settings = Settings(**FAST | {"steps": 1, "learning_rate": 1.0, "grad_clip": 0.01})
    train(scale, clips, settings, optimizer=lambda parameters: torch.optim.SGD(parameters), show=False)
    assert abs(scale.factor.item() - 0.5) == pytest.approx(0.01, rel=1e-3)


def test_an_optimizer_of_one_s_own_follows_the_schedule(network, clips):
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    run(network, clips, optimizer=lambda parameters: Watched(parameters, lr=9.0), lr_schedule="linear", learning_rate=0.4)
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_clips_and_pictures_train_together(network):
    latents = [torch.ones(16, 3, 4, 4), torch.ones(16, 1, 4, 4), torch.ones(16, 3, 4, 4)]
    mixed = EncodedDataset.from_tensors(latents, [torch.ones(2, tiny.TEXT_WIDTH)], [0, 0, 0])
    assert len(run(network, mixed)[1].losses) == 4


def test_a_checkpoint_says_that_all_before_it_is_written(network, clips, tmp_path):
    """A run goes on behind its checkpoint, so what is written at that step has to be there first."""
    seen = []
    run(network, clips, folder=tmp_path, save_every=2, on_save=lambda network, result: seen.append(len(checkpoints(tmp_path))))
    assert seen == [0, 1] and len(checkpoints(tmp_path)) == 2
