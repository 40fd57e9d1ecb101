"""The condition value: it grows by copying, never touches what it is given, and refuses what does not fit."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.pusa_model.condition import Condition
from pusa.schedulers import InputError

SHAPE = (16, 6, 2, 3)


def latent(batch=1, shape=SHAPE):
    return torch.zeros(batch, *shape)


def frames(count, seed=0, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, SHAPE[0], count, *SHAPE[2:], generator=generator)


@st.composite
def places(draw):
    """(positions, multipliers) of some frames of the target, in any order."""
    positions = draw(st.lists(st.integers(0, SHAPE[1] - 1), unique=True))
    multipliers = st.sampled_from([0.0, 1.0]) | st.floats(0, 1, width=32)
    return positions, draw(st.lists(multipliers, min_size=len(positions), max_size=len(positions)))


def test_an_empty_condition_leaves_every_frame_free():
    condition = Condition.empty(latent(batch=2))
    assert condition.target == SHAPE and condition.positions == () and condition.multipliers == ()
    assert condition.frames.shape == (1, 16, 0, 2, 3)
    assert not condition.conditioned
    assert torch.equal(condition.vector(), torch.ones(6))
    assert torch.equal(condition.place(frames(6)), frames(6))


@given(places(), st.integers(0, 6))
def test_adding_in_two_links_of_a_chain_is_adding_at_once(placed, cut):
    positions, multipliers = placed
    given_frames = frames(len(positions))
    once = Condition.empty(latent()).add(given_frames, positions, multipliers)
    first = Condition.empty(latent()).add(given_frames[:, :, :cut], positions[:cut], multipliers[:cut])
    chained = first.add(given_frames[:, :, cut:], positions[cut:], multipliers[cut:])
    assert (chained.target, chained.positions, chained.multipliers) == (once.target, once.positions, once.multipliers)
    assert torch.equal(chained.frames, once.frames)


@given(places())
def test_every_held_frame_is_placed_and_every_free_one_kept(placed):
    positions, multipliers = placed
    given_frames, target = frames(len(positions)), frames(6, seed=1)
    condition = Condition.empty(target).add(given_frames, positions, multipliers)
    result = condition.place(target)
    held = {position: given_frames[:, :, i] for i, position in enumerate(positions) if multipliers[i] < 1}
    for frame in range(6):
        assert torch.equal(result[:, :, frame], held.get(frame, target[:, :, frame]))
    assert condition.conditioned == bool(held)


@given(places())
def test_the_vector_holds_each_multiplier_at_its_position(placed):
    positions, multipliers = placed
    vector = Condition.empty(latent()).add(frames(len(positions)), positions, multipliers).vector()
    assert dict(zip(positions, multipliers)) == {p: vector[p].item() for p in positions}
    assert vector.sum().item() == pytest.approx(6 - len(positions) + sum(multipliers))


def test_nothing_that_goes_in_is_changed():
    base = Condition.empty(latent()).add(frames(2), [0, 5], [0.0, 0.5])
    target, more, positions, multipliers = frames(6, seed=1), frames(2, seed=2), [1, 2], [0.2, 1.0]
    before = [base.frames.clone(), target.clone(), more.clone(), list(positions), list(multipliers), base]
    base.add(more, positions, multipliers).place(target)
    base.check_target(target)
    assert torch.equal(base.frames, before[0]) and torch.equal(target, before[1]) and torch.equal(more, before[2])
    assert [positions, multipliers] == before[3:5]
    assert (base.positions, base.multipliers) == ((0, 5), (0.0, 0.5))


def test_a_condition_cannot_be_assigned_to():
    condition = Condition.empty(latent())
    for field in dataclasses.fields(condition):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(condition, field.name, None)


def test_a_condition_is_equal_to_itself_only():
    condition = Condition.empty(latent()).add(frames(2), [0, 5], [0.0, 0.5])
    copy = Condition.empty(latent()).add(frames(2), [0, 5], [0.0, 0.5])
    assert condition != copy and condition in [copy, condition]
    assert len({condition, copy, condition}) == 2


def test_later_changes_to_the_given_frames_do_not_reach_the_condition():
    given_frames = frames(1)
    condition = Condition.empty(latent()).add(given_frames, [0], [0.0])
    given_frames.zero_()
    assert torch.equal(condition.frames, frames(1))


def test_frames_take_the_dtype_of_the_target():
    condition = Condition.empty(latent().half()).add(frames(1).double(), [0], [0.0])
    assert condition.frames.dtype == torch.float16
    assert condition.place(latent()).dtype == torch.float32


@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
def test_a_single_frame_serves_a_batch_whichever_comes_first(order):
    condition = Condition.empty(latent(batch=3))
    for position, batch in enumerate(order):
        condition = condition.add(frames(1, seed=batch, batch=batch), [position], [0.0])
    placed = condition.place(latent(batch=3))
    for position, batch in enumerate(order):
        assert torch.equal(placed[:, :, position], frames(1, seed=batch, batch=batch)[:, :, 0].expand(3, -1, -1, -1))


def test_one_condition_serves_a_batch_of_latents():
    condition = Condition.empty(latent()).add(frames(1), [2], [0.3])
    condition.check_target(latent(batch=4))
    assert torch.equal(condition.place(latent(batch=4))[:, :, 2], frames(1)[:, :, 0].expand(4, -1, -1, -1))


def test_two_batch_sizes_are_refused():
    condition = Condition.empty(latent(batch=3)).add(frames(1, batch=3), [0], [0.0])
    with pytest.raises(InputError, match="in batches of 2 and 3; use one batch size, or 1"):
        condition.add(frames(1, batch=2), [1], [0.0])
    with pytest.raises(InputError, match="holds a batch of 3, the latent one of 2"):
        condition.check_target(latent(batch=2))


@pytest.mark.parametrize(
    "positions, multipliers, message",
    [
        ([0, 1], [0.0], "2 condition frames come with 1 noise multipliers"),
        ([6], [0.0], "latent frame 6 is outside the target, which has 0 to 5"),
        ([-1], [0.0], "latent frame -1 is outside the target"),
        ([0], [1.1], "multiplier 1.1 of latent frame 0 is outside 0 to 1"),
        ([0], [-0.1], "multiplier -0.1 of latent frame 0"),
        ([0], [float("nan")], "multiplier nan of latent frame 0"),
        ([1, 1], [0.0, 0.0], r"latent frame 1 \(pixel frames 1 to 4\) is given twice"),
        ([3], [0.0], r"latent frame 3 \(pixel frames 9 to 12\) is given twice"),
    ],
)
def test_places_that_cannot_be_taken_are_named(positions, multipliers, message):
    condition = Condition.empty(latent()).add(frames(1), [3], [0.5])
    with pytest.raises(InputError, match=message):
        condition.check_places(positions, multipliers)
    with pytest.raises(InputError, match=message):
        condition.add(frames(len(positions)), positions, multipliers)


@pytest.mark.parametrize("shape", [(1, 16, 1, 2, 3), (1, 16, 2, 3, 3), (1, 4, 2, 2, 3), (1, 16, 2, 2), (16, 2, 2, 3)])
def test_frames_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(InputError) as refused:
        Condition.empty(latent()).add(torch.zeros(shape), [0, 1], [0.0, 0.0])
    assert str(shape) in str(refused.value)
    assert "[batch, 16, 2, 2, 3]" in str(refused.value)
    assert "2 positions on 6 latent frames (21 pixel frames) of 3 x 2 latent pixels" in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value):
    bad = frames(1)
    bad[0, 3, 0, 1, 2] = value
    with pytest.raises(InputError, match="not finite"):
        Condition.empty(latent()).add(bad, [0], [0.0])


@pytest.mark.parametrize("shape", [(16, 5, 2, 3), (16, 6, 3, 3), (16, 6, 2, 4), (48, 6, 2, 3)])
def test_a_latent_of_another_shape_is_refused_and_both_are_described(shape):
    condition = Condition.empty(latent())
    with pytest.raises(InputError, match="Connect the same latent to the condition nodes and to the sampler") as refused:
        condition.check_target(latent(shape=shape))
    made_for, found = str(refused.value).split(", the latent has ")
    assert made_for.removeprefix("the condition was made for ") != found.split(". Connect")[0]


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (16, 6, 2, 3)])
def test_a_picture_latent_is_no_target(shape):
    with pytest.raises(InputError, match="a video latent has five axes"):
        Condition.empty(torch.zeros(shape))
    with pytest.raises(InputError, match="the latent has the shape"):
        Condition.empty(latent()).check_target(torch.zeros(shape))


@pytest.mark.parametrize("shape, family", [
    ((1, 128, 3, 4, 4), "LTX-Video"), ((1, 32, 3, 4, 4), "HunyuanVideo 1.5"),
    ((1, 4, 8, 8), "Stable Diffusion"), ((1, 128, 8, 8), "Flux.2"), ((1, 64, 100), "Stable Audio"),
    ((1, 3, 8, 8), "a model that works on pixels"), ((1, 16, 8, 8), "a picture model such as Flux"),
])  # fmt: skip
def test_a_latent_of_another_family_is_called_by_its_name(shape, family):
    for told in (Condition.empty, Condition.empty(latent()).check_target):
        with pytest.raises(InputError, match=f"as those of {family} have"):
            told(torch.zeros(shape))
    with pytest.raises(InputError, match=f"as those of {family} have"):
        Condition.empty(latent()).add(torch.zeros(shape), [0], [0.0])


@pytest.mark.parametrize("shape", [(1, 16, 0, 2, 3), (0, 16, 6, 2, 3), (1, 16, 6, 0, 3)])
def test_a_latent_with_nothing_in_it_is_no_target(shape):
    with pytest.raises(InputError, match="a video latent has five axes"):
        Condition.empty(torch.zeros(shape))
