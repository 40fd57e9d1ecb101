"""The small world: what a scene says is what it shows, and what is held out never occurs in training."""

import itertools
from dataclasses import replace

import host_comfyui
import pytest
import torch

host_comfyui.load_pack()

from pusa.training.nano import words, world
from pusa.training.nano.quality import measure

SEEDS = range(40)


@pytest.mark.parametrize("split", world.SPLITS)
def test_scenes_follow_from_their_seed(split):
    assert [world.scene(seed, split) for seed in SEEDS] == [world.scene(seed, split) for seed in SEEDS]
    assert len({world.scene(seed, split) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("split", world.SPLITS)
def test_every_thing_stays_in_the_picture(split):
    for seed in range(600):
        for thing in world.scene(seed, split).things:
            centres, radii = thing.track()
            assert (centres > 0.85 * radii[:, None]).all(), thing
            assert (centres < world.SIDE - 1 - 0.85 * radii[:, None]).all(), thing


def test_held_out_combinations_never_occur_in_training_but_all_their_pairs_do():
    trained = {(t.colour, t.shape, t.motion) for seed in range(6000) for t in world.scene(seed).things}
    tested = {(t.colour, t.shape, t.motion) for seed in range(600) for t in world.scene(seed, "held-out", things=1).things}
    assert len(tested) == 27
    assert not tested & trained
    for one, other in itertools.combinations(range(3), 2):
        assert {(c[one], c[other]) for c in tested} <= {(c[one], c[other]) for c in trained}


def test_a_window_of_a_scene_is_that_part_of_it():
    scene = world.scene(3)
    assert torch.equal(scene.render(9, first=12), scene.render()[12:21])


@pytest.mark.parametrize("split", world.SPLITS)
def test_measuring_finds_what_was_drawn(split):
    generator = torch.Generator().manual_seed(0)
    for seed in SEEDS:
        scene = world.scene(seed, split)
        video = (scene.render() + 0.03 * torch.randn(world.FRAMES, 64, 64, 3, generator=generator)).clamp(0, 1)
        for thing, seen in zip(scene.things, measure.look(video, len(scene.things)), strict=True):
            assert (seen.colour, seen.shape, seen.motion) == (thing.colour, thing.shape, thing.motion)
            assert (seen.track - thing.track()[0]).norm(dim=1).max() < 2.5


@pytest.mark.parametrize("word", ["colour", "shape", "motion"])
def test_measuring_tells_every_word_from_every_other(word):
    """A scene with one word changed is never measured as it was."""
    options = {"colour": list(world.COLOURS), "shape": world.SHAPES, "motion": ("grows", "stops", "moves right")}[word]
    thing = world.Thing("red", "circle", "large", "stops", (20.0, 32.0), (1.2, 0.0))
    for option in options:
        moving = {"moves right": (0.8, 0.0), "grows": (0.0, 0.0)}.get(option, thing.velocity)
        changed = replace(thing, **{word: option}, **({"velocity": moving} if word == "motion" else {}))
        (seen,) = measure.look(world.Scene("grey", (changed,)).render())
        assert getattr(seen, word) == option


def test_an_empty_clip_shows_nothing():
    (seen,) = measure.look(world.Scene("teal", ()).render())
    assert (seen.colour, seen.shape, seen.motion) == ("none", "none", "none")
    assert seen.track.isnan().all()


def test_captions_have_features_of_their_own():
    captions = {world.scene(seed).caption for seed in range(200)}
    features = torch.stack([words.embed(caption) for caption in captions])
    distances = torch.cdist(features.flatten(1), features.flatten(1)) + 1e9 * torch.eye(len(captions))
    assert distances.min() > 10
    assert words.embed("").abs().max() == 0
    assert torch.equal(words.embed("a red circle"), words.embed("a red circle"))
    one = "a red circle grows above a blue square stops on a grey background"
    other = "a blue circle grows above a red square stops on a grey background"
    assert not torch.equal(words.embed(one), words.embed(other))


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="`elephant`"):
        words.embed("a red elephant moves right")
    with pytest.raises(ValueError, match="17 words"):
        words.embed("a " * 17)


def test_unknown_splits_are_named():
    with pytest.raises(ValueError, match="train or held-out"):
        world.scene(0, "test")


@pytest.mark.parametrize("shape", world.SHAPES)
def test_an_outline_is_that_of_its_own_shape_and_loses_by_lumps(shape):
    """A true clip agrees with its own shape best; a thing with a bite out of it agrees less."""
    thing = world.Thing("white", shape, "large", "moves right", (20.0, 31.0), (0.7, 0.0))
    clip = world.Scene("dark", (thing,)).render(5)
    found = {name: measure.outline(clip, name) for name in world.SHAPES}
    assert found[shape].shape == (5,) and max(found, key=lambda name: found[name].mean()) == shape
    bitten = clip.clone()
    bitten[:, 30:, 22:25] = clip[:, 30:, :3]
    assert (measure.outline(bitten, shape) < found[shape] - 0.02).all() and found[shape].min() > 0.85
