"""Which pixel frames a latent frame holds, and which lengths a clip can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import InputError, check_length, latent_frame, latent_length, pixel_frames, pixel_length

latents = st.integers(0, 10**6)
lengths = st.integers(1, 10**6)


@pytest.mark.parametrize("frames, latent", [(1, 1), (5, 2), (9, 3), (13, 4), (41, 11), (81, 21), (121, 31)])
def test_lengths_are_the_official_ones(frames, latent):
    assert latent_length(frames) == latent
    assert pixel_length(latent) == frames


@pytest.mark.parametrize("latent, frames", [(0, [0]), (1, [1, 2, 3, 4]), (18, [69, 70, 71, 72]), (20, [77, 78, 79, 80])])
def test_a_latent_holds_the_official_frames(latent, frames):
    assert list(pixel_frames(latent)) == frames


@given(lengths)
def test_lengths_go_there_and_back(length):
    assert latent_length(pixel_length(length)) == length


@given(latents)
def test_every_frame_of_a_latent_lies_in_that_latent(latent):
    assert {latent_frame(frame) for frame in pixel_frames(latent)} == {latent}


@given(latents)
def test_every_frame_is_held_by_its_latent(frame):
    assert frame in pixel_frames(latent_frame(frame))


@given(st.integers(1, 500))
def test_the_latents_of_a_clip_hold_each_of_its_frames_once(length):
    assert [frame for latent in range(length) for frame in pixel_frames(latent)] == list(range(pixel_length(length)))


@given(st.integers(0, 10**6))
def test_only_lengths_of_4n_plus_1_pass(n):
    check_length(4 * n + 1)
    for remainder in (2, 3, 4):
        with pytest.raises(InputError, match=f"use {4 * n + 1} or {4 * n + 5}"):
            check_length(4 * n + remainder)
        with pytest.raises(InputError):
            latent_length(4 * n + remainder)


@pytest.mark.parametrize("frames", [0, -1, -3, -80])
def test_a_length_below_one_is_refused_with_the_shortest_ones(frames):
    with pytest.raises(InputError, match=f"`window` is {frames}; a clip has 4n \\+ 1 frames, so use 1, 5, 9"):
        check_length(frames, "window")
