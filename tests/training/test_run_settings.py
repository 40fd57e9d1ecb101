"""Settings, the learning rate, and the order of the data."""

from collections import Counter

import pytest
from pusa.schedulers import InputError
from pusa.training.data.order import Order, generator
from pusa.training.loop import learning_rate
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
    assert (arguments.rank, arguments.alpha, arguments.targets) == (512, None, "q,k,v,o,ffn.0,ffn.2")
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
    check_same(Settings(steps=20, save_every=3, keep=9, gradient_checkpointing=True), stored)
    with pytest.raises(InputError, match=r"seed \(0 then, 1 now\), shift \(5.0 then, 3.0 now\)"):
        check_same(Settings(steps=10, seed=1, shift=3.0), stored)
    with pytest.raises(InputError, match=r"steps \(10 then, 20 now\)"):
        check_same(Settings(steps=20, lr_schedule="cosine"), Settings(steps=10, lr_schedule="cosine").as_dict())


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


def test_a_batch_holds_one_shape_and_is_filled_up():
    shapes = ["clip"] * 5 + ["picture"] * 2
    order = Order(shapes, batch_size=4, seed=0)
    batches = [order.batch(number) for number in range(order.per_epoch)]
    assert order.per_epoch == 3
    assert all(len(batch) == 4 and len({shapes[index] for index in batch}) == 1 for batch in batches)
    shown = Counter(sum(batches, []))
    assert set(shown) == set(range(7)) and max(shown.values()) == 2


def test_generators_differ_by_every_part():
    parts = [("noise", 0, 1), ("noise", 1, 0), ("noise", 0, 2), ("order", 0, 1)]
    assert len({generator(*each).initial_seed() for each in parts}) == 4
    assert generator(*parts[0]).initial_seed() == generator(*parts[0]).initial_seed()
