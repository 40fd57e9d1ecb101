"""The command line itself: wrong flags are named with what is allowed, before anything is posted."""

import json
import shlex
from pathlib import Path

import pytest
from command_line import GIVEN, run

from cli.flags import parse, parser
from cli.flags.parser import other_names
from cli.graph.settings import Settings
from cli.graph.tasks import TASKS

PICTURE, CLIP = str(GIVEN / "nano_00.png"), str(GIVEN / "nano_begins.mp4")
I2V = ("i2v", "--image_paths", PICTURE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*I2V, "--cfg_scale", "200"), "argument --cfg_scale: '200' is not a number from 0 to 100"),
        ((*I2V, "--cfg_scale", "nan"), "argument --cfg_scale: 'nan' is not a number from 0 to 100"),
        ((*I2V, "--num_inference_steps", "0"), "--num_inference_steps/--num_steps: '0' is not a whole number from 1 to 10000"),
        ((*I2V, "--num_frames", "20000"), "argument --num_frames: '20000' is not a whole number from 1 to 16381"),
        ((*I2V, "--width", "100"), "'100' is not a whole number from 16 to 16384 that is a multiple of 16"),
        ((*I2V, "--noise_multipliers", "0.2,1.5"), "--noise_multipliers/--noise_multiplier: '1.5' is not a number from 0 to 1"),
        ((*I2V, "--cond_position", "0,x"), "argument --cond_position: '0,x' is not a list of latent frames such as 0,10,20"),
        ((*I2V, "--switch_DiT_boundary", "875"), "argument --switch_DiT_boundary: '875' is not a number from 0 to 1"),
        ((*I2V, "--seed", "-1"), "argument --seed: '-1' is not a whole number from 0 to 18446744073709551615"),
        ((*I2V, "--server", "ftp://a"), "argument --server: 'ftp://a' is not an address such as http://127.0.0.1:8188"),
        ((*I2V, "--server", "http://a:port"), "'http://a:port' is not an address"),
        ((*I2V, "--hops", "2"), "unrecognized arguments: --hops 2"),
        (("i2v", "--image_paths", "gone.png"), "argument --image_paths: there is no file gone.png"),
        (("i2v", "--inputs", "gone"), "argument --inputs: there is no folder gone"),
        (("i2v",), "--image_paths takes 1 for i2v, not 0, or give --inputs"),
        (("start-end", "--image_paths", PICTURE), "--image_paths takes 2 for start-end, not 1"),
        (("transition", "--video_paths", CLIP, CLIP, CLIP), "--video_paths takes 1 to 2 for transition, not 3"),
        (("extend", "--video_path", CLIP, "--direction", "up"), "invalid choice: 'up'"),
        ((*I2V, "--inputs", str(GIVEN)), "--image_paths and --inputs cannot be given together"),
        ((*I2V, "--model", "nano", "--lightx2v"), "--lightx2v belongs to wan21 and wan22"),
        ((*I2V, "--model", "mochi", "--lightx2v"), "--lightx2v belongs to wan21 and wan22"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_allowed(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        parse(list(arguments))
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_the_official_command_lines_are_understood():
    """Flags and values as the README of the official code has them, but for paths and the script's name."""
    given = parse(
        ["start-end", "--image_paths", PICTURE, PICTURE, "--prompt", "foam", "--cond_position", "0,20", "--noise_multipliers",
         "0.2,0.5", "--num_inference_steps", "4", "--high_lora_alpha", "1.5", "--low_lora_alpha", "1.4", "--cfg_scale", "1",
         "--lightx2v"]
    )  # fmt: skip
    settings = Settings.from_flags(vars(given))
    assert settings == Settings(
        prompt=("foam",), image_paths=(Path(PICTURE),) * 2, cond_position=(0, 20), noise_multipliers=(0.2, 0.5),
        num_inference_steps=4, high_lora_alpha=1.5, low_lora_alpha=1.4, cfg_scale=1.0,
    )  # fmt: skip
    assert (given.lightx2v, given.model) == (True, "wan22")


def test_servers_are_named_once_each():
    assert parse([*I2V]).server == ["http://127.0.0.1:8188"]
    given = ["--server", "gpu1:8188", "--server", "https://gpu2/comfy/", "--server", "http://gpu1:8188"]
    assert parse([*I2V, *given]).server == ["http://gpu1:8188", "https://gpu2/comfy"]


def test_help_has_an_example_of_every_task():
    text = parser().format_help()
    assert all(f"python -m cli {name} {task.example}" in text for name, task in TASKS.items())


@pytest.mark.parametrize("name", TASKS)
def test_the_examples_are_command_lines(name, monkeypatch, tmp_path):
    words = shlex.split(TASKS[name].example)
    for word in words:
        if word.endswith((".png", ".jpg", ".mp4", ".txt")):
            (tmp_path / word).touch()
    monkeypatch.chdir(tmp_path)
    assert parse([name, *words]).task == name


def test_a_dry_run_prints_the_graph_and_needs_no_server(tmp_path):
    flags = ("--image_paths", PICTURE, "--seed", "5", "--dry_run", "--server", "http://127.0.0.1:9")
    graph = json.loads(run("i2v", tmp_path / "out", *flags).stdout)
    (sampler,) = [node["inputs"] for node in graph.values() if node["class_type"] == "PusaKSampler"]
    assert sampler["seed"] == 5
    assert not (tmp_path / "out").exists()


def test_a_setting_that_the_graph_cannot_take_ends_before_anything_is_posted(tmp_path):
    flags = ("--image_paths", PICTURE, "--prompt", "words", "--server", "http://127.0.0.1:9")
    done = run("i2v", tmp_path, *flags, code=2)
    assert done.stderr == "Error: demo_i2v: --prompt: the graph takes stored prompts (PusaLoadPrompt); give --prompt_file\n"


@pytest.mark.parametrize("name, other", [("extend", "extension"), ("start-end", "start_end")])
def test_a_task_is_known_by_the_name_of_its_graph(name, other):
    assert other in other_names(name, TASKS[name])
    shared = ["--prompt", "x", "--dry_run"]
    given = ["--video_path", __file__] if name == "extend" else ["--image_paths", __file__, __file__]
    assert parse([other, *shared, *given]).task == parse([name, *shared, *given]).task == name
