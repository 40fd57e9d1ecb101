"""Settings, the learning rate, and the order of the data."""

from collections import Counter

import pytest
from pusa.schedulers import InputError
from pusa.training.data.order import Order, generator, shares
from pusa.training.method.schedule import learning_rate
from pusa.training.options import parser, settings_of
from pusa.training.settings import EXPERTS, Settings, check_same


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"steps": 0}, "`steps` is 0; it must be 1 or more"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"learning_rate": 0.0}, "`learning_rate` is 0.0; it must be a number above 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` is nan"),
        ({"p_condition": 0.5, "timesteps": "scalar"}, "`p_condition` is 0.5; it must be 0 unless"),
        ({"p_condition": 0.5, "sigma_range": "frame"}, "`p_condition` is 0.5; it must be 0 unless"),
        ({"p_async": 1.5}, "`p_async` is 1.5; it must be from 0 to 1"),
        ({"caption_dropout": -0.1}, "`caption_dropout` is -0.1"),
        ({"timesteps": "both"}, "`timesteps` is both; it must be one of vector, scalar"),
        ({"weighting": "bell"}, "one of none, gaussian, official"),
        ({"sigma_min": 0.9, "sigma_max": 0.9}, "`sigma_min` is 0.9; it must be below `sigma_max`"),
        ({"steps": 5, "warmup": 6}, "`warmup` is 6; it must be at most `steps`"),
        ({"grad_clip": -1.0}, "`grad_clip` is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused_in_words(wrong, words):
    with pytest.raises(InputError) as error:
        Settings(**wrong)
    assert words in str(error.value)


COMMAND = ["store", "--model", "wan.safetensors", "--output", "out"]


def settings(*arguments):
    return settings_of(parser().parse_args([*COMMAND, *arguments]))


def test_the_defaults_of_the_command_line_are_those_of_the_official_trainer():
    arguments = parser().parse_args(COMMAND)
    assert (arguments.rank, arguments.alpha, arguments.targets) == (512, None, None)  # targets: those of the family
    assert arguments.train_architecture == "lora"
    assert settings() == Settings(
        steps=900, batch_size=1, accumulate=1, learning_rate=1e-5, lr_schedule="constant", weight_decay=0.01, grad_clip=0.0,
        mixed_precision="bf16", activations="bf16", p_async=1.0, shift=5.0, sigma_min=0.0, sigma_max=1.0, timesteps="vector",
        caption_dropout=0.0, gradient_checkpointing=False, save_every=150,
    )  # fmt: skip


def test_an_option_reaches_its_setting():
    assert settings("--learning_rate", "1e-4", "--gradient_checkpointing", "--timesteps", "scalar") == Settings(
        learning_rate=1e-4, gradient_checkpointing=True, timesteps="scalar", activations="bf16"
    )
    assert settings("--train_architecture", "full").activations == "fp32"
    assert settings("--mixed_precision", "no").activations == "fp32"
    assert settings("--activations", "fp32").activations == "fp32"


@pytest.mark.parametrize("expert", EXPERTS)
def test_an_expert_sets_its_range(expert):
    found = settings("--expert", expert)
    assert (found.sigma_min, found.sigma_max) == EXPERTS[expert]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--expert", "high", "--sigma_min", "0.5"), "--expert sets the range"),
        (("--rank", "0"), "`rank` is 0"),
        (("--steps", "0"), "`steps` is 0"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        settings(*arguments)


def test_a_run_goes_on_only_under_the_settings_that_made_it():
    stored = Settings(steps=10).as_dict()
    assert check_same(Settings(steps=20, save_every=3, keep=9, gradient_checkpointing=True), stored) == []
    changed = check_same(Settings(steps=10, learning_rate=1e-6, warmup=5, grad_clip=1.0, weight_decay=0.0), stored)
    assert [line.split(" (")[0] for line in changed] == ["learning_rate", "warmup", "weight_decay", "grad_clip"]
    assert "learning_rate (1e-05 then, 1e-06 now)" in changed
    with pytest.raises(InputError, match=r"seed \(0 then, 1 now\), shift \(5.0 then, 3.0 now\)"):
        check_same(Settings(steps=10, seed=1, shift=3.0), stored)
    with pytest.raises(InputError, match=r"steps \(10 then, 20 now\)"):
        check_same(Settings(steps=20, lr_schedule="cosine"), Settings(steps=10, lr_schedule="cosine").as_dict())


def test_accumulation_may_make_up_for_another_number_of_processes():
    """Then a step sees the same clips."""
    stored = Settings(accumulate=3).as_dict()
    assert check_same(Settings(accumulate=6), stored, (2, 1)) == ["accumulate (3 then, 6 now)"]
    assert check_same(Settings(accumulate=2), stored, (2, 3)) == ["accumulate (3 then, 2 now)"]
    assert check_same(Settings(accumulate=3), stored, (2, 1)) == []
    for processes in ((1, 1), (2, 2), (2, 3)):
        with pytest.raises(InputError, match=r"accumulate \(3 then, 6 now\)"):
            check_same(Settings(accumulate=6), stored, processes)


def test_learning_rates():
    constant = Settings(steps=10, learning_rate=1.0, warmup=3)
    assert [learning_rate(constant, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    linear = Settings(steps=8, learning_rate=1.0, warmup=4, lr_schedule="linear")
    assert [learning_rate(linear, step) for step in (4, 6, 7)] == [1.0, 0.5, 0.25]
    cosine = Settings(steps=8, learning_rate=1.0, lr_schedule="cosine")
    assert [round(learning_rate(cosine, step), 4) for step in (0, 4, 7)] == [1.0, 0.5, 0.0381]


def test_an_epoch_shows_every_clip_once_in_an_order_of_its_own():
    order = Order(["a"] * 6, batch_size=2, seed=0)
    epochs = [[order.batch(number) for number in range(3 * epoch, 3 * epoch + 3)] for epoch in range(4)]
    assert all(sorted(sum(epoch, [])) == list(range(6)) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 1
    assert [order.batch(number) for number in range(12)] == sum(epochs, []) == [
        Order(["a"] * 6, 2, 0).batch(number) for number in range(12)
    ]  # fmt: skip
    assert [Order(["a"] * 6, 2, 1).batch(number) for number in range(12)] != sum(epochs, [])


@pytest.mark.parametrize("batch_size, batches", [(1, 30), (2, 16), (8, 5), (64, 2)])
def test_a_batch_holds_one_shape_and_no_clip_is_shown_more_often_than_another(batch_size, batches):
    shapes = ["clip"] * 29 + ["picture"]
    order = Order(shapes, batch_size, seed=0)
    assert order.per_epoch == batches
    for epoch in range(2):
        shown = [order.batch(number) for number in range(epoch * batches, (epoch + 1) * batches)]
        assert all(len({shapes[index] for index in batch}) == 1 for batch in shown)
        assert Counter(sum(shown, [])) == Counter(range(30))


def test_a_step_that_lies_in_two_epochs_sees_the_same_as_one_after_the_other():
    order = Order(["a"] * 5, 2, 0)
    mixed = [order.batch(number) for number in (2, 3, 2, 3, 4)]
    assert mixed == [Order(["a"] * 5, 2, 0).batch(number) for number in (2, 3, 2, 3, 4)]


def test_sizes_are_told():
    assert shares([(16, 21, 60, 104)] * 29 + [(16, 1, 60, 104)]) == "29 of 21 x 60 x 104, 1 of 1 x 60 x 104"


def test_generators_differ_by_every_part():
    parts = [("noise", 0, 1), ("noise", 1, 0), ("noise", 0, 2), ("order", 0, 1)]
    assert len({generator(*each).initial_seed() for each in parts}) == 4
    assert generator(*parts[0]).initial_seed() == generator(*parts[0]).initial_seed()
