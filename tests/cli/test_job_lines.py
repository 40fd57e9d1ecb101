"""Jobs as lines of a file: what a line may hold, what is said of one that is wrong, and that they are made and resumed."""

import json

import pytest
from command_line import GIVEN, SMALL, ask, run

from cli.__main__ import planned
from cli.flags import parse

PICTURE = str(GIVEN / "nano_00.png")
BASE = ("i2v", "--model", "nano", "--image_paths", PICTURE, "--seed", "5")


def written(folder, *lines):
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: no JSON"),
        ("[1]", "line 2: it must be an object"),
        ('{"id": "b", "seed": 1, "seed": 2}', "line 2: 'seed' is there 2 times"),
        ({"seed": 1}, 'line 2: it has no "id"'),
        ({"id": "a"}, "line 2: the id 'a' is that of line 1"),
        ({"id": "A"}, "line 2: the id 'A' is that of line 1"),
        ({"id": "x/y"}, "line 2: the id 'x/y' cannot name a file"),
        ({"id": ".x"}, "line 2: the id '.x' cannot name a file"),
        ({"id": "x" * 201}, "cannot name a file: a text of up to 200 bytes"),
        ({"id": "x\ud800"}, "line 2: the id 'x\\ud800' cannot name a file"),
        ("[" * 100_000, "line 2: no JSON"),
        ({"id": 7}, "line 2: the id 7 cannot name a file"),
        ({"id": "b", "sed": 1}, "line 2: there is no key 'sed'; there are id, "),
        ({"id": "b", "server": "http://a"}, "line 2: there is no key 'server'"),
        ({"id": "b", "seed": -1}, "line 2: argument --seed: '-1' is not a whole number from 0"),
        ({"id": "b", "seed": [1, 2]}, "line 2: 'seed' takes one value, not 2"),
        ({"id": "b", "seed": True}, "line 2: 'seed' takes texts or numbers, not true"),
        ({"id": "b", "prompt": None}, "line 2: 'prompt' takes texts or numbers, not null"),
        ({"id": "b", "lightx2v": 1}, "line 2: 'lightx2v' is true or false, not 1"),
        ({"id": "b", "lightx2v": True}, "line 2: --lightx2v belongs to wan21 and wan22"),
        ({"id": "b", "image_paths": ["gone.png"]}, "line 2: argument --image_paths: there is no file gone.png"),
        ({"id": "b", "noise_multipliers": [0.2, 2]}, "line 2: argument --noise_multipliers: '2' is not a number from 0 to 1"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_what_is_allowed(capsys, tmp_path, line, words):
    with pytest.raises(SystemExit) as caught:
        parse([*BASE, "--jobs", written(tmp_path, {"id": "a"}, line)])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_length_that_no_video_has_is_named_by_its_line_before_anything_is_made(tmp_path):
    path = written(tmp_path, {"id": "a"}, "", {"id": "b", "num_frames": 10})
    done = run("i2v", tmp_path / "out", "--image_paths", PICTURE, "--jobs", path, "--wait", "0", code=2)
    assert f"Error: --jobs: {path}, line 3: demo_i2v: --num_frames" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--inputs", str(GIVEN)), "--jobs and --inputs cannot be given together"),
        (("--output", "a.mp4"), "--output is one video, and --jobs makes several"),
    ],
)
def test_a_file_of_jobs_goes_with_no_other_source_of_jobs(capsys, tmp_path, more, words):
    with pytest.raises(SystemExit):
        parse(["i2v", "--jobs", written(tmp_path, {"id": "a"}), *more])
    assert words in capsys.readouterr().err


def test_a_file_without_a_line_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        parse([*BASE, "--jobs", written(tmp_path, "", " ")])
    assert "has no line" in capsys.readouterr().err


def test_a_line_is_the_command_line_with_its_keys_as_flags(tmp_path):
    """The same graph comes of both, whichever form a value has."""
    lines = {
        "a": ({}, ()),
        "b": ({"seed": 7, "cfg_scale": 2.5}, ("--seed", "7", "--cfg_scale", "2.5")),
        "c": (
            {"cond_position": [0, 3, "last"], "noise_multipliers": [0.1, 0, 0.4]},
            ("--cond_position=0,3,last", "--noise_multipliers=0.1,0,0.4"),
        ),
        "d": ({"cond_position": "0,3,last", "steps": 3}, ("--cond_position=0,3,last", "--num_inference_steps", "3")),
        "e": ({"prompt_file": ["-x"]}, ("--prompt_file=-x",)),
    }
    words = ("keyframes", "--model", "nano", "--image_paths", PICTURE, PICTURE, str(GIVEN / "nano_16.png"))
    path = written(tmp_path, *({"id": id} | line for id, (line, _) in lines.items()))
    jobs, failures = planned(parse([*words, "--jobs", path]), tmp_path)
    assert [job.video for job in jobs] == [tmp_path / f"{id}.mp4" for id in lines] and not failures
    for job, (_, flags) in zip(jobs, lines.values()):
        ((alone,), _) = planned(parse([*words, *flags]), tmp_path)
        assert (job.filled, job.about) == (alone.filled, alone.about)


def test_a_file_may_have_a_mark_at_its_start_and_any_letter_in_a_text(tmp_path):
    """Editors of Windows write the mark; JSON lets line separators of Unicode stand in a text."""
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"id": "a", "prompt_file": "x\u2028y\u0085z"}\r\n{"id": "b"}\r\n'.encode())
    jobs, _ = planned(parse([*BASE, "--jobs", str(path)]), tmp_path)
    assert [job.name for job in jobs] == ["a", "b"] and jobs[0].filled.said["prompt"] == ["x\u2028y\u0085z"]


def test_a_prompt_of_a_line_takes_the_place_of_the_others(tmp_path):
    """Given twice on a command line they would be two."""
    path = written(tmp_path, {"id": "a"}, {"id": "b", "prompt_file": "own"})
    jobs, _ = planned(parse([*BASE, "--prompt_file", "of_all", "--jobs", path]), tmp_path)
    assert [job.filled.said["prompt"] for job in jobs] == [["of_all"], ["own"]]


def test_a_picture_of_a_line_takes_the_place_of_the_others(capsys, tmp_path):
    other = str(GIVEN / "nano_16.png")
    jobs, _ = planned(parse([*BASE, "--jobs", written(tmp_path, {"id": "a"}, {"id": "b", "image": other})]), tmp_path)
    assert [[str(path) for path in job.filled.uploads.values()] for job in jobs] == [[PICTURE], [other]]
    with pytest.raises(SystemExit):
        parse([*BASE, "--jobs", written(tmp_path, {"id": "a", "multi_cond": {"0": [other, 0.3]}})])
    assert "line 1: --multi_cond and --image_paths cannot be given together" in capsys.readouterr().err


def test_lines_are_made_and_resumed_on_a_server(server, tmp_path):
    """Two equal jobs are two videos; what fails is in a file; the same command makes only what is missing."""
    out, gone = tmp_path / "out", {"id": "gone", "prompt_file": "gone.safetensors"}
    path = written(tmp_path, {"id": "a", "seed": 1}, gone, {"id": "b", "seed": 1})
    flags = ("--image_paths", PICTURE, "--jobs", path, "--server", server.url, *SMALL)
    done = run("i2v", out, *flags, code=1)
    assert "2 done, 0 done before, 1 failed, of 3." in done.stdout
    assert done.stderr.startswith("Failed: gone: ")
    assert {path.name for path in out.iterdir()} == {"a.mp4", "a.json", "b.mp4", "b.json", "failures.jsonl"}
    (line,) = map(json.loads, (out / "failures.jsonl").read_text().splitlines())
    assert (line["id"], line["tries"]) == ("gone", 1) and "the server has no gone.safetensors" in line["reason"]
    before = ask(server.url, "/history").keys()
    written(tmp_path, {"id": "a", "seed": 1}, {"id": "b", "seed": 1})
    assert "0 done, 2 done before, 0 failed, of 2." in run("i2v", out, *flags).stdout
    assert ask(server.url, "/history").keys() == before and not (out / "failures.jsonl").exists()
