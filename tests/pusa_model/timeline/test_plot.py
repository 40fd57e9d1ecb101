"""The picture of a condition shows the level of every frame at every step, for the shortest and the longest clips."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pusa.pusa_model.timeline import plot
from pusa.pusa_model.timeline.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot_levels
from pusa.schedulers import InputError, flow_match_sigmas, multiplier_vector

CONDITIONS = {0: 0.0, 3: 0.2, 9: 0.5, 20: 0.9}
STEPS = 10
SIGMAS, MULTIPLIERS = flow_match_sigmas(STEPS), multiplier_vector(21, list(CONDITIONS), list(CONDITIONS.values()))
SIZES = [(1, 1), (1, 1000), (2, 4), (21, 10), (200, 1), (200, 1000), (2001, 10)]


def cells(image, length, steps):
    """Brightness in the middle of every cell, [steps + 1, length]."""
    rows = ((torch.arange(steps + 1) + 0.5) * (BOTTOM - TOP) / (steps + 1) + TOP).long()
    columns = ((torch.arange(length) + 0.5) * (RIGHT - LEFT) / length + LEFT).long()
    return image[0, rows][:, columns].sum(-1)


def marks(image):
    """Columns of the picture that carry the mark of a condition frame above the cells."""
    return (image[0, TOP - 3] * 255).round().eq(torch.tensor(plot.MARK)).all(-1).nonzero().flatten().tolist()


def test_a_plot_is_one_picture_as_comfyui_takes_it():
    image = plot_levels(SIGMAS, MULTIPLIERS)
    assert image.shape == (1, HEIGHT, WIDTH, 3) and image.dtype == torch.float32
    assert 0 <= image.min() and image.max() <= 1


def test_the_same_condition_gives_the_same_picture():
    assert torch.equal(plot_levels(SIGMAS, MULTIPLIERS), plot_levels(SIGMAS, MULTIPLIERS))


def test_condition_frames_are_darker_than_free_ones_at_the_first_step():
    first = cells(plot_levels(SIGMAS, MULTIPLIERS), 21, STEPS)[0]
    free = [frame for frame in range(21) if frame not in CONDITIONS]
    assert first[list(CONDITIONS)].max() < first[free].min()
    assert (first[list(CONDITIONS)].diff() > 0).all()


def test_brightness_follows_the_level_in_every_cell():
    brightness = cells(plot_levels(SIGMAS, MULTIPLIERS), 21, STEPS).flatten()
    levels = (SIGMAS[:, None] * MULTIPLIERS).flatten()
    clean, noise = (torch.tensor(colour).sum() / 255 for colour in (plot.CLEAN, plot.NOISE))
    assert (brightness - (clean + levels * (noise - clean))).abs().max() < 3 / 255


def test_every_frame_ends_clean():
    last = cells(plot_levels(SIGMAS, MULTIPLIERS), 21, STEPS)[-1]
    assert last.unique().numel() == 1


def test_a_change_of_one_multiplier_or_of_the_steps_shows():
    image = plot_levels(SIGMAS, MULTIPLIERS)
    changed = MULTIPLIERS.clone()
    changed[3] = 0.25
    for other in (plot_levels(SIGMAS, changed), plot_levels(flow_match_sigmas(STEPS + 1), MULTIPLIERS)):
        assert not torch.equal(image, other)


@pytest.mark.parametrize("length", [1, 2, 21, 61, 200])
def test_exactly_the_condition_frames_are_marked(length):
    positions = sorted({0, length // 2, length - 1})
    image = plot_levels(SIGMAS, multiplier_vector(length, positions, [0.3] * len(positions)))
    width = (RIGHT - LEFT) / length
    assert {int((x - LEFT) / width + 0.5 / width) for x in marks(image)} == set(positions)


def test_a_clip_without_conditions_has_no_marks():
    assert not marks(plot_levels(SIGMAS, torch.ones(21)))


@pytest.mark.parametrize("length, steps", SIZES)
def test_every_size_can_be_drawn_and_nothing_is_cut_at_the_border(length, steps):
    multipliers = multiplier_vector(length, [0, length - 1][:length], [0.123456, 0.99][:length])
    image = plot_levels(flow_match_sigmas(steps), multipliers)
    assert image.shape == (1, HEIGHT, WIDTH, 3)
    border = [image[0, :4], image[0, -4:], image[0, :, :4], image[0, :, -4:]]
    border = torch.cat([strip.flatten(0, 1) for strip in border])
    assert border.unique(dim=0).shape[0] == 1


@given(st.integers(1, 10_001), st.floats(5, 60))
def test_labels_start_at_the_first_cell_and_have_the_room_they_need(count, needed):
    room = (RIGHT - LEFT) / count
    labels = plot._labelled(count, room, needed)
    assert labels[0] == 0 and labels[-1] < count
    assert len(labels) == 1 or labels.step * room >= needed
    assert labels.step == 1 or labels.step * room < 2.5 * needed


@pytest.mark.parametrize("steps", [1, 10, 50, 1000])
def test_step_labels_stand_apart(steps):
    image = plot_levels(flow_match_sigmas(steps), torch.ones(21))[0]
    inked = (image[TOP:BOTTOM, : LEFT - 4] != image[0, 0]).any(-1).any(1)
    lines = int((inked[1:] & ~inked[:-1]).sum() + inked[0])
    assert lines == len(plot._labelled(steps + 1, (BOTTOM - TOP) / (steps + 1), 26))


def test_no_levels_is_told():
    with pytest.raises(InputError, match="`sigmas` is empty"):
        plot_levels(torch.zeros(0), MULTIPLIERS)


@pytest.mark.parametrize("sigmas, words", [
    (torch.tensor(1.0), r"has the shape \(\)"), (torch.ones(2, 3), r"has the shape \(2, 3\)"),
    (torch.tensor([1.0, float("nan"), 0.0]), "not finite"), (torch.tensor([float("inf"), 0.0]), "not finite"),
    (torch.tensor([0.0, 0.5, 1.0]), "from 0 to 1; the levels of a flow-matching run fall"),
    (torch.tensor([1.0, 0.2, 0.4, 0.0]), "from 1 to 0; the levels of a flow-matching run fall"),
    (torch.tensor([14.6, 1.0, 0.0]), "from 14.6 to 0; "), (torch.tensor([1.0, -0.5]), "from 1 to -0.5; "),
])  # fmt: skip
def test_levels_that_are_not_those_of_a_run_are_told(sigmas, words):
    with pytest.raises(InputError, match=f"`sigmas` .*{words}"):
        plot_levels(sigmas, MULTIPLIERS)


def test_levels_that_rest_are_drawn():
    assert plot_levels(torch.tensor([1.0, 0.5, 0.5, 0.2]), MULTIPLIERS).shape == (1, HEIGHT, WIDTH, 3)
