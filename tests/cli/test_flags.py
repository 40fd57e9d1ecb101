"""The command line itself: wrong flags are named with what is allowed, before anything is posted."""

import json
import shlex
from pathlib import Path

import pytest
from command_line import GIVEN, run

from cli.__main__ import main
from cli.flags import parse, parser
from cli.graph.settings import Settings
from cli.graph.tasks import TASKS

PICTURE, CLIP = str(GIVEN / "nano_00.png"), str(GIVEN / "nano_begins.mp4")
I2V = ("i2v", "--image_paths", PICTURE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*I2V, "--cfg_scale", "200"), "argument --cfg_scale: '200' is not a number from 0 to 100"),
        ((*I2V, "--cfg_scale", "nan"), "argument --cfg_scale: 'nan' is not a number from 0 to 100"),
        ((*I2V, "--num_inference_steps", "0"), "argument --num_inference_steps: '0' is not a whole number from 1 to 10000"),
        ((*I2V, "--num_frames", "20000"), "argument --num_frames: '20000' is not a whole number from 1 to 16381"),
        ((*I2V, "--width", "100"), "'100' is not a whole number from 16 to 16384 that is a multiple of 16"),
        ((*I2V, "--noise_multipliers", "0.2,1.5"), "argument --noise_multipliers: '1.5' is not a number from 0 to 1"),
        ((*I2V, "--cond_position", "0,x"), "argument --cond_position: '0,x' is not a list of latent frames such as 0,10,20"),
        ((*I2V, "--switch_DiT_boundary", "875"), "argument --switch_DiT_boundary: '875' is not a number from 0 to 1"),
        ((*I2V, "--seed", "-1"), "argument --seed: '-1' is not a whole number from 0 to 18446744073709551615"),
        ((*I2V, "--server", "ftp://a"), "argument --server: 'ftp://a' is not an address such as http://127.0.0.1:8188"),
        ((*I2V, "--server", "http://a:port"), "'http://a:port' is not an address"),
        ((*I2V, "--server", "http://[::1"), "'http://[::1' is not an address"),
        ((*I2V, "--output", "s3://bucket/a.mp4"), "'s3://bucket/a.mp4' is a URL; give --output_dir the one of its folder"),
        (("i2v", "--image_paths", PICTURE, "word " * 80), "argument --image_paths: there is no file word word"),
        (("i2v", "--inputs", "word " * 80), "argument --inputs: there is no folder word word"),
        (("i2v", "--image_dir", "word " * 80), "argument --image_dir: there is no file or folder word word"),
        (("keyframes", "--multi_cond", '{"0": ["%s", 0.3]}' % ("word " * 80)), "argument --multi_cond: there is no file word word"),
        ((*I2V, "--hops", "2"), "unrecognized arguments: --hops 2; --hops is a flag of extend"),
        (("i2v", "--image_paths", "gone.png"), "argument --image_paths: there is no file gone.png"),
        (("i2v", "--inputs", "gone"), "argument --inputs: there is no folder gone"),
        (("i2v",), "--image_paths takes 1 to 50 for i2v, not 0, or give --inputs"),
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
    text = parser()[0].format_help()
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


def test_a_dry_run_of_jobs_that_cannot_be_prints_no_graph(pictures, capsys):
    assert main(["i2v", "--inputs", str(pictures), "--dry_run"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("Failed: ") == 3


def test_a_prompt_in_a_file_for_a_graph_of_stored_prompts_is_told(pictures, capsys):
    (pictures / "a.txt").write_text("A ball falls")
    assert main(["i2v", "--model", "nano", "--inputs", str(pictures), "--dry_run"]) == 1
    assert (
        "Failed: a: a.txt holds a prompt, and the graph takes the names of stored ones (PusaLoadPrompt)" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["completion", "extend"])
def test_help_says_which_task_is_the_official_extension(name, capsys):
    with pytest.raises(SystemExit):
        parse([name, "-h"])
    said = " ".join(capsys.readouterr().out.split())
    assert "from the END of" in said and "the first 13 frames of the clip" in said and "extension" in said


def test_a_setting_that_the_graph_cannot_take_ends_before_anything_is_posted(tmp_path):
    flags = ("--image_paths", PICTURE, "--prompt", "words", "--server", "http://127.0.0.1:9")
    done = run("i2v", tmp_path, *flags, code=2)
    assert done.stderr == "Error: demo_i2v: --prompt: the graph takes stored prompts (PusaLoadPrompt); give --prompt_file\n"


@pytest.mark.parametrize("name, other", [(name, other) for name, task in TASKS.items() for other in task.names])
def test_a_task_has_other_names(name, other):
    given = ["--video_path", CLIP] if name == "completion" else ["--image_paths", PICTURE, PICTURE]
    assert parse([other, "--prompt", "x", *given]).task == name


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--image_pats", "unrecognized arguments: --image_pats a.png; did you mean --image_paths?"),
        ("--noise_multiplie", "did you mean --noise_multipliers?"),
        ("--new_frames", "; --new_frames is a flag of extend, transition"),
    ],
)
def test_an_unknown_flag_is_told_under_the_usage_of_its_task_with_the_nearest_name(capsys, flag, words):
    with pytest.raises(SystemExit):
        parse(["i2v", flag, "a.png"])
    said = capsys.readouterr().err
    assert said.startswith("usage: python -m cli i2v [FLAG ...]") and words in said
