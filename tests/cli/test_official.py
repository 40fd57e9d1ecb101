"""Flags of the official V0.5 scripts: each says what one of ours says, and never both."""

import json
from pathlib import Path

import pytest
from command_line import GIVEN
from mochi_graph import mochi_file

from cli.__main__ import main
from cli.flags import parse
from cli.graph.links import path_to, source_of
from cli.graph.settings import Settings

PICTURES = [str(GIVEN / f"nano_{frame}.png") for frame in ("00", "16", "32")]
CLIPS = [str(GIVEN / "nano_begins.mp4"), str(GIVEN / "nano_ends.mp4")]
MULTI_COND = json.dumps({"0": [PICTURES[0], 0], "13": [PICTURES[1], 0.7], "last": [PICTURES[2], 1]})
TRANSITION = ["transition", "--video_start_dir", CLIPS[0], "--video_end_dir", CLIPS[1]]
ENDS = ["--cond_position_start", "0,1,2", "--cond_position_end", "-2,-1"]

SAME = [
    (["t2v", "--num_steps", "30"], ["t2v", "--num_inference_steps", "30"]),
    (["t2v", "--prompt_dir", str(GIVEN)], ["t2v", "--inputs", str(GIVEN)]),
    (
        ["i2v", "--image_dir", PICTURES[0], "--cond_position", "21", "--noise_multiplier", "0.4"],
        ["i2v", "--image_paths", PICTURES[0], "--cond_position", "21", "--noise_multipliers", "0.4"],
    ),
    (["i2v", "--image_dir", str(GIVEN)], ["i2v", "--inputs", str(GIVEN)]),
    (
        ["keyframes", "--multi_cond", MULTI_COND],
        ["keyframes", "--image_paths", *PICTURES, "--cond_position", "0,13,last", "--noise_multipliers", "0,0.7,1"],
    ),
    (
        ["extend", "--video_dir", CLIPS[0], "--cond_position", "[0,1,2,3]", "--noise_multiplier", "[0.1, 0.2, 0.3, 0.4]"],
        ["extend", "--video_path", CLIPS[0], "--cond_position", "0,1,2,3", "--noise_multipliers", "0.1,0.2,0.3,0.4"],
    ),
    (["start-end", "--start_frame", PICTURES[0], "--end_frame", PICTURES[1]], ["start-end", "--image_paths", *PICTURES[:2]]),
    (["i2v", "--image_path", PICTURES[0], "--steps=4"], ["i2v", "--image_paths", PICTURES[0], "--num_inference_steps", "4"]),
    (["i2v", "--image", PICTURES[0], "--dit_path", "x/d.pt"], ["i2v", "--image_paths", PICTURES[0], "--unet", "x/d.pt"]),
    (["extension", "--video_path", CLIPS[0]], ["completion", "--video_path", CLIPS[0], "--cond_position", "0,1,2,3"]),
    (TRANSITION, [*TRANSITION, "--cond_position_start", "0,1,2", "--cond_position_end", "-3,-2,-1"]),
]


@pytest.mark.parametrize(("official", "own"), SAME)
def test_an_official_flag_is_one_of_ours(official, own):
    one, other = parse(official), parse(own)
    assert Settings.from_flags(vars(one)) == Settings.from_flags(vars(other))
    assert getattr(one, "inputs", None) == getattr(other, "inputs", None)


def test_several_pictures_in_one_flag_or_file(tmp_path, capsys):
    """A noise of 0 stays 0."""
    (tmp_path / "cond.json").write_text(MULTI_COND)
    graph = str(mochi_file("keyframes", tmp_path))
    made = []
    for value in (MULTI_COND, str(tmp_path / "cond.json")):
        assert main(["keyframes", "--graph", graph, "--multi_cond", value, "--prompt", "words", "--dry_run"]) == 0
        made.append(json.loads(capsys.readouterr().out))
    assert made[0] == made[1]
    (keyframes,) = [node["inputs"] for node in made[0].values() if node["class_type"] == "PusaKeyframes"]
    assert keyframes.items() >= {"positions": "0, 13, last", "unit": "latent", "noise": "0, 0.7, 1"}.items()
    names = [made[0][keyframes[f"images.image{number}"][0]]["inputs"]["image"] for number in range(3)]
    assert [name.split("-")[0] for name in names] == ["pusa/nano_00", "pusa/nano_16", "pusa/nano_32"]


@pytest.mark.parametrize("model", ["wan21", "wan22", "mochi", "nano"])
def test_an_official_transition_begins_as_one_clip_and_ends_as_the_first_half_of_another(capsys, model):
    """In one video, unlike Transition (Pusa), which joins whole clips."""
    words = [] if model == "nano" else ["--prompt", "words"]
    noise = ["--noise_multiplier", "[0.1,0.2,0.3,0.4,0.5]"]
    assert main([*TRANSITION, "--model", model, *ENDS, *noise, *words, "--dry_run"]) == 0
    made = json.loads(capsys.readouterr().out)
    kept = {node["inputs"]["place"]: node["inputs"] for node in made.values() if node["class_type"] == "PusaVideoFrames"}
    factor = 6 if model == "mochi" else 4
    assert (kept["start"]["frames"], kept["start"]["noise"]) == (2 * factor + 1, "0.1, 0.2, 0.3")
    assert (kept["end"]["frames"], kept["end"]["noise"]) == (2 * factor + 1, "0.4, 0.5")
    cut = made[kept["end"]["video"][0]]
    length = next(node["inputs"]["length"] for node in made.values() if "batch_size" in node["inputs"])
    assert cut["class_type"] == "ImageFromBatch" and cut["inputs"].items() >= {"batch_index": 0, "length": length // 2}.items()
    for place, name in (("start", "nano_begins"), ("end", "nano_ends")):
        id = next(id for id, node in made.items() if node["inputs"] is kept[place])
        loader = made[source_of(made, path_to(made, id, "video", ("LoadVideo",))[-1])]
        assert loader["inputs"]["file"].startswith(f"pusa/{name}-")


def test_a_folder_of_pictures_and_one_of_prompts(tmp_path, pictures, capsys):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in "ab":
        (texts / f"{name}.txt").write_text(f"words of {name}")
        (pictures / f"{name}.txt").write_text("another")
    given = ["--graph", str(mochi_file("i2v", tmp_path)), "--image_dir", str(pictures), "--prompt_dir", str(texts)]
    assert main(["i2v", *given, "--dry_run"]) == 1
    said = capsys.readouterr()
    assert said.err == f"Failed: c: there is no prompt c.txt in {texts}, and no --prompt for all\n"
    made = json.loads(said.out)
    prompts = {name: {node["inputs"].get("text") for node in graph.values()} for name, graph in made.items()}
    assert prompts.keys() == {"a", "b"}
    assert all(f"words of {name}" in prompts[name] for name in "ab")


def entry(value) -> list:
    return ["keyframes", "--multi_cond", json.dumps({"20": value})]


TAKES = "it takes a picture and a noise multiplier from 0 to 1, as {"
WRONG = [
    (["i2v", "--image_dir", "gone"], "argument --image_dir: there is no file or folder gone"),
    (["i2v", "--image_dir", PICTURES[0], "--image_paths", PICTURES[0]], "--image_dir and --image_paths cannot be given together"),
    (["i2v", "--image_dir", str(GIVEN), "--inputs", str(GIVEN)], "--image_dir and --inputs cannot be given together"),
    (["i2v", "--prompt_dir", str(GIVEN)], "--prompt_dir has the prompts of files of these names; give"),
    (["i2v", "--image_dir", str(GIVEN), "--prompt_dir", "gone"], "argument --prompt_dir: there is no folder gone"),
    (["keyframes", "--multi_cond", "gone.json"], '\'gone.json\' is not JSON as {"0": ["first.png", 0.3], '),
    (["keyframes", "--multi_cond", "{0: 1}"], "'{0: 1}' is not JSON as {"),
    (["keyframes", "--multi_cond", "{}"], "'{}' names no picture; give JSON as {"),
    (["keyframes", "--multi_cond", '{"first": ["a.png", 0]}'], "'first' is not a latent frame; give JSON as {"),
    (entry(["gone.png", 0.3]), "there is no file gone.png"),
    (entry([PICTURES[0], 1.5]), TAKES),
    (entry([PICTURES[0], True]), TAKES),
    (entry([PICTURES[0], None]), "null]; " + TAKES),
    (entry([PICTURES[0]]), TAKES),
    (entry(PICTURES[0]), f'latent frame 20 has "{PICTURES[0]}"; {TAKES}'),
    (["keyframes", "--multi_cond", MULTI_COND, "--noise_multiplier", "0"], "--multi_cond and --noise_multipliers cannot be given"),
    (["keyframes", "--multi_cond", MULTI_COND, "--cond_position", "0"], "--multi_cond and --cond_position cannot be given"),
    (["start-end", "--multi_cond", MULTI_COND], "--multi_cond takes 2 for start-end, not 3"),
    (TRANSITION[:3], "--video_start_dir and --video_end_dir go together"),
    (["start-end", "--end_frame", PICTURES[0]], "--start_frame and --end_frame go together"),
    ([*TRANSITION, "--video_path", CLIPS[0]], "--video_start_dir and --video_paths cannot be given together"),
    ([*TRANSITION, *ENDS, "--overlap", "19"], "--video_start_dir and --overlap cannot be given together"),
    (["transition", "--video_paths", *CLIPS, *ENDS], "--cond_position_start goes with --video_start_dir and --video_end_dir; oth"),
    (
        ["i2v", "--image_path", PICTURES[0], "--dit_path", "a.pt", "--unet", "b.pt"],
        "--dit_path and --unet cannot be given together",
    ),
    (
        ["i2v", "--image_path", PICTURES[0], "--output", "a"],
        "argument --output: 'a' does not end in .mp4; a folder is --output_dir",
    ),
    (["i2v", "--inputs", str(GIVEN), "--output", "a.mp4"], "--output is one video, and --inputs makes several; give --output_dir"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_wrong_flag_is_named_with_what_is_allowed(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_latent_frame_named_twice_is_told(tmp_path, capsys):
    value = f'{{"0": ["{PICTURES[0]}", 0], "0": ["{PICTURES[1]}", 0]}}'
    line = ["start-end", "--graph", str(mochi_file("start-end", tmp_path)), "--multi_cond", value, "--prompt", "x", "--dry_run"]
    assert main(line) == 2
    assert "--cond_position names latent frame 0 twice" in capsys.readouterr().err


def test_values_that_begin_with_a_minus_sign_are_no_flags():
    given = parse(["keyframes", "--image_paths", *PICTURES, "--cond_position", "-9,-5,-1", "--lora_alpha", "-1", "--dry_run"])
    assert (given.cond_position, given.lora_alpha, given.dry_run) == ([-9, -5, -1], -1, True)
    assert given.image_paths == [Path(name) for name in PICTURES]
