"""What the demos are given is what their scenes draw, and no two tasks are given the same scene."""

import json

import host_comfyui
import numpy as np
import pytest
from PIL import Image

host_comfyui.load_pack()

from pusa.pusa_model.prompts.stored import load_prompt
from pusa.training.nano import words, world
from pusa.training.nano.examples.files import enlarged
from pusa.training.nano.examples.scenes import SHOWN, captions
from pusa.training.nano.ship import FOLDER

from cli.demo.given import frames_of
from cli.demo.tasks import CAPTIONS, TASKS, demo_graph, prompt_of


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_and_clips_are_those_of_the_scene(name):
    shown = SHOWN[name]
    frames = [np.asarray(frame, float) for frame in enlarged(shown.scene.render())]
    for file, number in shown.pictures.items():
        assert np.array_equal(np.asarray(Image.open(FOLDER / "input" / f"{file}.png"), float), frames[number])
    for file, part in shown.clips.items():
        found = [np.asarray(frame, float) for frame in frames_of(FOLDER / "input" / f"{file}.mp4")]
        assert len(found) == len(frames[part])
        assert all(np.abs(one - other).mean() < 2 for one, other in zip(found, frames[part]))


def test_stored_prompts_hold_the_words_that_are_told_of_them():
    assert json.loads(CAPTIONS.read_text(encoding="utf-8")) == captions()
    for name, caption in captions().items():
        ((features, options),) = load_prompt(str(FOLDER / "models" / "prompts" / name))
        assert features.equal(words.embed(caption)[None]) and options == {}


def test_every_file_of_the_demos_is_one_of_a_scene():
    drawn = {f"{name}.png" for shown in SHOWN.values() for name in shown.pictures}
    drawn |= {f"{name}.mp4" for shown in SHOWN.values() for name in shown.clips}
    assert {path.name for path in (FOLDER / "input").iterdir()} == drawn | {"nano_film.txt"}


def test_tasks_are_told_apart_by_their_scenes():
    """Another set of colours and shapes for each, and each stays in the picture."""
    told = {task: prompt_of(demo_graph(task)) for task in TASKS}
    scenes = {shown.scene.caption: shown.scene for shown in SHOWN.values()}
    looks = [tuple((thing.colour, thing.shape) for thing in scenes[caption].things) for caption in told.values()]
    assert len(set(looks)) == len(TASKS)
    for scene in scenes.values():
        for thing in scene.things:
            centres, radii = thing.track()
            assert (centres - radii[:, None] > -1).all() and (centres + radii[:, None] < world.SIDE).all()
