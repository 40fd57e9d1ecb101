"""What the condition nodes do: pictures, clips and latents at their places on the timeline of a target latent."""

import pytest
import torch
from pusa.pusa_model.timeline import encode
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import InputError

LENGTH = 6  # latent frames of the target: 21 pixel frames of 24 x 16
TARGET = torch.zeros(1, 16, LENGTH, 2, 3)


def pictures(count, seed=0, height=16, width=24):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def latents(count, seed=0):
    return torch.randn(1, 16, count, 2, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def as_in_a_graph():
    """ComfyUI runs every node in inference mode."""
    with torch.inference_mode():
        yield


def keyframes(vae, images, positions="0", unit="frame", noise="0.2", fit="crop", mode="still", condition=None, latent=TARGET):
    images = {f"image{i}": batch for i, batch in enumerate(images)}
    return timeline.keyframes(vae, latent, images, positions, unit, noise, fit, mode, condition)


def video_frames(vae, video, take="end", frames=5, place="start", noise="0.0", fit="crop", condition=None, latent=TARGET):
    return timeline.video_frames(vae, latent, video, take, frames, place, noise, fit, condition)


def test_a_keyframe_is_its_picture_encoded_alone(vae):
    condition = keyframes(vae, [pictures(1)])
    assert (condition.positions, condition.multipliers, condition.target) == ((0,), (0.2,), (16, 6, 2, 3))
    assert torch.equal(condition.frames, vae.encode(pictures(1)))


def test_pictures_take_the_positions_in_order_across_batches(vae):
    first, second = pictures(2, seed=1), pictures(1, seed=2)
    condition = keyframes(vae, [first, second], "last, 0, 9", noise="0.1, 0.2, 0.3")
    assert condition.positions == (5, 0, 3)
    assert condition.multipliers == (0.1, 0.2, 0.3)
    for i, picture in enumerate([*first, *second]):
        assert torch.equal(condition.frames[:, :, i : i + 1], vae.encode(picture[None]))


@pytest.mark.parametrize(
    "positions, unit, places",
    [
        ("0, 1, 5, 20", "frame", (0, 1, 2, 5)),
        ("-1, -5", "frame", (5, 4)),
        ("last", "frame", (5,)),
        ("0, 1, 5", "latent", (0, 1, 5)),
        ("-1, -5", "latent", (5, 1)),
        ("last", "latent", (5,)),
        ("2-4", "latent", (2, 3, 4)),
    ],
)
def test_positions_count_video_frames_or_latent_frames(vae, positions, unit, places):
    assert keyframes(vae, [pictures(len(places))], positions, unit).positions == places


@pytest.mark.parametrize("mode", encode.ENCODINGS)
def test_the_encoding_asked_for_is_the_one_used(vae, mode):
    condition = keyframes(vae, [pictures(2)], "0, last", mode=mode)
    assert torch.equal(condition.frames, encode.encode_images(vae, list(pictures(2)), [0, 5], mode))


def test_pictures_of_several_sizes_are_fitted_each(vae):
    wide, tall = pictures(1, width=48), pictures(1, seed=1, height=32)
    condition = keyframes(vae, [wide, tall], "0, last", fit="pad")
    for i, picture in enumerate((wide, tall)):
        fitted = encode.fit_images(picture, 24, 16, "pad")
        assert torch.equal(condition.frames[:, :, i : i + 1], vae.encode(fitted))


@pytest.mark.parametrize(
    "count, positions, said", [(1, "0, 20", "2 frames for 1 pictures"), (3, "0, 20", "2 frames for 3 pictures")]
)
def test_another_number_of_pictures_than_positions_is_refused(vae, count, positions, said):
    with pytest.raises(InputError, match=f"`positions` names {said}; give one for each"):
        keyframes(vae, [pictures(count)], positions)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"positions": "21"},
            r"position 21 is outside .* The latent has 6 frames \(21 pixel frames\), so `positions` takes 0 to 20,",
        ),
        (
            {"positions": "6", "unit": "latent"},
            r"position 6 is outside .* `positions` takes 0 to 5, negatives from the end \(-1 to -6\)",
        ),
        ({"positions": "-22"}, "position -22 is outside the clip"),
        ({"positions": "0, 1-2"}, r"latent frame 1 \(pixel frames 1 to 4\) is given twice"),
        ({"positions": "x"}, "`x` in `positions` is not a position"),
        ({"noise": "2"}, "multiplier 2 is outside 0 to 1"),
        ({"noise": "0, 1"}, "`noise` lists 2 values for 1 condition frame"),
        ({"unit": "second"}, "no unit `second`; use frame or latent"),
        ({"latent": torch.zeros(1, 4, 8, 8)}, "a video latent has five axes"),
    ],
)
def test_texts_are_checked_before_anything_is_encoded(arguments, message):
    """No VAE is needed to be told."""
    with pytest.raises(InputError, match=message):
        keyframes(None, [pictures(1)], **arguments)


def test_the_start_of_the_target_takes_the_latents_of_the_clip(vae):
    condition = video_frames(vae, pictures(13), frames=13, noise="0.0, 0.3, 0.4, 0.5")
    assert condition.positions == (0, 1, 2, 3)
    assert condition.multipliers == (0.0, 0.3, 0.4, 0.5)
    assert torch.equal(condition.frames, vae.encode(pictures(13)))


def test_the_end_of_the_target_takes_all_but_the_primer_latent(vae):
    condition = video_frames(vae, pictures(13), frames=13, place="end", noise="0.5..0.0")
    assert condition.positions == (3, 4, 5)
    assert condition.multipliers == (0.5, 0.25, 0.0)
    assert torch.equal(condition.frames, vae.encode(pictures(13))[:, :, 1:])


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("take, piece", [("start", slice(0, 5)), ("end", slice(-5, None))])
def test_take_picks_that_end_of_the_clip(vae, take, piece, place):
    condition = video_frames(vae, pictures(8), take=take, place=place)
    assert torch.equal(condition.frames, vae.encode(pictures(8)[piece])[:, :, place == "end" :])


def test_only_the_frames_taken_are_fitted_and_used(vae):
    video = pictures(9, width=48)
    video[:4] = float("nan")
    fitted = encode.fit_images(video[4:], 24, 16, "stretch")
    assert torch.equal(video_frames(vae, video, fit="stretch").frames, vae.encode(fitted))


def test_a_clip_may_fill_the_whole_target(vae):
    assert video_frames(vae, pictures(21), frames=21).positions == tuple(range(6))


def test_frames_of_noise_1_between_others_are_as_if_not_given(vae):
    """So a clip is kept at any latent frames, as the official video-to-video writes its latents to its positions."""
    clip = pictures(21)
    condition = video_frames(vae, clip, take="start", frames=17, noise="1, 0.2, 1, 1, 0")
    wanted = timeline.latent_frames(TARGET, vae.encode(clip), "1, 4", "0.2, 0")
    assert torch.equal(condition.vector(), wanted.vector()) and condition.vector().tolist() != [1.0] * LENGTH
    assert torch.equal(condition.place(latents(LENGTH)), wanted.place(latents(LENGTH)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"frames": 6}, "`frames` is 6; a clip has 4n \\+ 1 frames, so use 5 or 9"),
        ({"frames": 29}, "29 frames of the clip are 8 latent frames, the target has 6. Use at most 21 frames"),
        ({"frames": 37}, "`frames` is 37, the video has only 33. Use at most 33"),
        ({"take": "middle"}, "`take` is `middle`; use start or end"),
        ({"place": "middle"}, "no place `middle`; use start or end"),
        ({"noise": "0.0, 0.3, 0.4, 0.5"}, "`noise` lists 4 values for 2 condition frames"),
        ({"noise": "0.0, 0.3", "place": "end"}, "`noise` lists 2 values for 1 condition frame"),
        ({"latent": torch.zeros(1, 4, 8, 8)}, "a video latent has five axes"),
    ],
)
def test_clips_that_cannot_be_used_are_told_before_anything_is_encoded(arguments, message):
    with pytest.raises(InputError, match=message):
        video_frames(None, pictures(33), **arguments)


def test_one_frame_cannot_be_the_end_of_a_video(vae):
    with pytest.raises(InputError, match=r"cannot be placed at the end as a clip.*position `last`"):
        video_frames(vae, pictures(1), frames=1, place="end")


def test_latent_frames_are_taken_as_they_are():
    condition = timeline.latent_frames(TARGET, latents(3), "1, last, 0", "0.0, 1.0, 0.5")
    assert condition.positions == (1, 5, 0)
    assert condition.multipliers == (0.0, 1.0, 0.5)
    assert torch.equal(condition.frames, latents(3))
    assert torch.equal(condition.place(TARGET)[:, :, 5], TARGET[:, :, 5])


def test_of_a_whole_clip_the_frames_at_the_positions_are_taken():
    clip = latents(LENGTH)
    condition = timeline.latent_frames(TARGET, clip, "0, last", "0.3")
    assert condition.positions == (0, 5)
    assert torch.equal(condition.frames, clip[:, :, [0, 5]])
    backwards = timeline.latent_frames(TARGET, clip, "5, 4, 3, 2, 1, 0", "0.3")
    assert torch.equal(backwards.frames, clip)


def test_the_number_of_latent_frames_is_the_number_of_positions():
    with pytest.raises(InputError, match="2 positions on 6 latent frames"):
        timeline.latent_frames(TARGET, latents(3), "0, 1", "0.0")
    with pytest.raises(InputError, match="position 6 is outside the clip. The latent has 6 frames, so `positions` takes 0 to 5"):
        timeline.latent_frames(TARGET, latents(1), "6", "0.0")


def test_nodes_chain_and_the_link_before_is_unchanged(vae):
    head = video_frames(vae, pictures(5))
    held = head.frames.clone()
    middle = keyframes(vae, [pictures(1, seed=1)], "12", condition=head)
    tail = timeline.latent_frames(TARGET, latents(1), "last", "0.5", middle)
    assert (head.positions, middle.positions, tail.positions) == ((0, 1), (0, 1, 3), (0, 1, 3, 5))
    assert tail.multipliers == (0.0, 0.0, 0.2, 0.5)
    assert torch.equal(head.frames, held)
    assert torch.equal(tail.frames, torch.cat([held, vae.encode(pictures(1, seed=1)), latents(1)], 2))


def test_the_order_of_a_chain_does_not_matter_to_the_timeline(vae):
    parts = [
        lambda c: keyframes(vae, [pictures(1)], "12", condition=c),
        lambda c: video_frames(vae, pictures(5), condition=c),
    ]
    one, other = parts[1](parts[0](None)), parts[0](parts[1](None))
    assert torch.equal(one.vector(), other.vector())
    assert torch.equal(one.place(TARGET), other.place(TARGET))


@pytest.mark.parametrize("add", ["keyframes", "video", "latents"])
def test_a_place_taken_earlier_in_the_chain_is_refused_before_anything_is_encoded(add):
    held = timeline.latent_frames(TARGET, latents(1), "1", "0.0")
    with pytest.raises(InputError, match=r"latent frame 1 \(pixel frames 1 to 4\) is given twice"):
        if add == "keyframes":
            keyframes(None, [pictures(1)], "3", condition=held)
        elif add == "video":
            video_frames(None, pictures(5), condition=held)
        else:
            timeline.latent_frames(TARGET, latents(1), "-5", "0.0", held)


def test_a_chain_stays_with_one_target(vae):
    held = timeline.latent_frames(TARGET, latents(1), "1", "0.0")
    with pytest.raises(InputError, match="the condition was made for 6 latent frames .* the latent has 5 latent frames"):
        keyframes(vae, [pictures(1)], condition=held, latent=TARGET[:, :, :5])


def test_the_content_of_the_target_does_not_count_and_is_not_changed(vae):
    target = latents(LENGTH)
    condition = keyframes(vae, [pictures(1)], latent=target)
    assert torch.equal(target, latents(LENGTH))
    assert torch.equal(condition.frames, keyframes(vae, [pictures(1)]).frames)
