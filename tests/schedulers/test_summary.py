"""The line that a condition node shows: which frames it gives, where they went and how clean they are."""

import pytest
from pusa.schedulers import pixel_frames, summary


def test_pictures_are_named_by_the_frame_they_were_asked_for():
    assert summary([0, 20], [0.0, 0.5], [0, 80]) == "0 -> latent 0, clean; 80 -> latent 20, level 0.5"
    assert summary([20, 0], [1.0, 0.25], [78, 0]) == "78 -> latent 20, free; 0 -> latent 0, level 0.25"


def test_latents_are_named_by_the_frames_they_hold():
    assert summary([0], [0.2]) == "0 -> latent 0, level 0.2"
    assert summary([0, 1, 2], [0.0, 0.3, 0.4]) == ("0 -> latent 0, clean; 1-4 -> latent 1, level 0.3; 5-8 -> latent 2, level 0.4")


def test_neighbours_of_one_level_are_one_entry():
    assert summary([0, 1, 2, 3], [0.0] * 4) == "0-12 -> latents 0-3, clean"
    assert summary([18, 19, 20, 0], [0.3] * 4) == "69-80 -> latents 18-20, level 0.3; 0 -> latent 0, level 0.3"
    assert summary([0, 1, 2], [0.3, 0.3, 0.4]) == "0-4 -> latents 0-1, level 0.3; 5-8 -> latent 2, level 0.4"


def test_frames_with_others_between_them_are_no_neighbours():
    assert summary([0, 1], [0.2, 0.2], [0, 4]) == "0 -> latent 0, level 0.2; 4 -> latent 1, level 0.2"
    assert summary([1, 0], [0.2, 0.2]) == "1-4 -> latent 1, level 0.2; 0 -> latent 0, level 0.2"


def test_of_a_long_list_the_beginning_and_the_end_are_shown():
    multipliers = [index / 20 for index in range(21)]
    assert summary(range(21), multipliers) == (
        "0 -> latent 0, clean; 1-4 -> latent 1, level 0.05; 5-8 -> latent 2, level 0.1; 9-12 -> latent 3, level 0.15; "
        "... 16 more ...; 77-80 -> latent 20, free"
    )
    assert "more" not in summary(range(6), multipliers[:6])
    assert "... 2 more ..." in summary(range(7), multipliers[:7])


@pytest.mark.parametrize("count, words", [(1, "1 latent frame from condition"), (4, "4 latent frames from condition")])
def test_what_was_there_before_is_counted(count, words):
    assert summary([20], [0.0], earlier=count) == f"77-80 -> latent 20, clean; {words}"


def test_a_node_that_gives_nothing_says_so():
    assert summary([], []) == "no frame is given"
    assert summary([], [], earlier=2) == "2 latent frames from condition"


@pytest.mark.parametrize("multiplier, words", [(0.0, "clean"), (1.0, "free"), (1 / 3, "level 0.333"), (1e-5, "level 1e-05")])
def test_levels_are_short(multiplier, words):
    assert summary([2], [multiplier]) == f"{pixel_frames(2)[0]}-{pixel_frames(2)[-1]} -> latent 2, {words}"
