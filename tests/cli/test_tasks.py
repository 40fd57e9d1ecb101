"""Every task through the command line on a real server, with the embedded model."""

import av
import numpy as np
import pytest
from command_line import GIVEN, SMALL, ask, run
from films import write_film

PICTURES = [GIVEN / f"nano_{frame}.png" for frame in ("00", "16", "32")]
BEGINS, ENDS = GIVEN / "nano_begins.mp4", GIVEN / "nano_ends.mp4"
STEPS = ("--num_inference_steps", "2")
SIDE = 4 * 32  # the graphs of the embedded model enlarge its frames
CLIP = 4 * 64
# Flags, frames and side of the video. The first clip has 13 frames, the second 9, and all of them stay.
TASKS = {
    "t2v": ("t2v", SMALL, 9, SIDE),
    "i2v": ("i2v", (*SMALL, "--image_paths", PICTURES[0], "--noise_multipliers", "0.2"), 9, SIDE),
    "start-end": ("start-end", (*SMALL, "--image_paths", *PICTURES[:2], "--cond_position", "0,last"), 9, SIDE),
    "keyframes": ("keyframes", (*SMALL, "--image_paths", *PICTURES, "--cond_position", "0,1,-1"), 9, SIDE),
    "completion": ("completion", (*SMALL, "--video_path", BEGINS, "--cond_position", "0,last"), 9, SIDE),
    "any frames": ("v2v", (*SMALL, "--video_path", BEGINS, "--cond_position", "1,2", "--noise_multipliers", "0.2,0"), 9, SIDE),
    "official extension": ("extension", ("--num_inference_steps", "2", "--video_path", BEGINS), 33, CLIP),
    "extend": ("extend", (*STEPS, "--video_path", BEGINS, "--overlap", 5, "--new_frames", 4), 17, CLIP),
    "hops": (
        "extend",
        (*STEPS, "--video_path", BEGINS, "--cond_position", "0,1", "--new_frames", 4, "--hops", 2, "--prompt_file",
         "nano_positive.safetensors", "--prompt_file", "nano_negative.safetensors"),
        21, CLIP,
    ),
    "prepend": (
        "extend", (*STEPS, "--video_path", ENDS, "--overlap", 5, "--new_frames", 4, "--direction", "backwards"), 13, CLIP,
    ),
    "transition": ("transition", (*STEPS, "--video_paths", BEGINS, ENDS, "--overlap", 5, "--new_frames", 3), 25, CLIP),
    "loop": ("transition", (*STEPS, "--video_path", BEGINS, "--overlap", 5, "--new_frames", 3), 16, CLIP),
}  # fmt: skip


@pytest.mark.parametrize("case", TASKS)
def test_a_task_makes_its_video(server, tmp_path, case):
    name, flags, frames, side = TASKS[case]
    done = run(name, tmp_path, "--server", server.url, *flags)
    (path,) = tmp_path.glob("*.mp4")
    assert f"{path.stem}: done, {path}" in done.stdout
    assert "%" in done.stdout
    with av.open(path) as video:
        made = [frame for frame in video.decode(video=0)]
        assert (len(made), made[0].width, made[0].height) == (frames, side, side)
        assert "prompt" in video.metadata


def test_the_same_command_again_posts_nothing(server, tmp_path):
    flags = ("--server", server.url, *SMALL, "--seed", "11")
    run("t2v", tmp_path, *flags)
    before = ask(server.url, "/history").keys()
    done = run("t2v", tmp_path, *flags)
    assert ": done before, " in done.stdout
    assert ask(server.url, "/history").keys() == before


def test_a_file_of_the_same_name_on_the_server_is_left_alone(server, tmp_path):
    """Uploads go to a folder of their own, by content."""
    mine = server.base_directory / "input" / "nano_00.png"
    mine.write_bytes(b"mine")
    run("i2v", tmp_path, "--server", server.url, *SMALL, "--image_paths", PICTURES[0], "--seed", "12")
    assert mine.read_bytes() == b"mine"


def test_what_a_server_refuses_is_told_with_node_and_input(server, tmp_path):
    done = run("t2v", tmp_path, "--server", server.url, *SMALL, "--sampler", "magic", code=1)
    assert "(PusaKSampler), input sampler_name: Value not in list" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["extend", "transition"])
def test_the_sound_and_the_frame_rate_of_a_clip_stay(server, tmp_path, task):
    """The graphs of the embedded model take a clip apart, to make it small."""
    write_film(tmp_path / "clip.mp4", 24, rate=24, sound=44100)
    few = ("--overlap", 5, "--new_frames", 4 if task == "extend" else 3)
    run(task, tmp_path / "out", "--server", server.url, *STEPS, "--video_path", tmp_path / "clip.mp4", *few)
    (path,) = (tmp_path / "out").glob("*.mp4")
    with av.open(path) as video:
        assert video.streams.video[0].average_rate == 24
        assert sum(1 for _ in video.decode(video=0)) == {"extend": 28, "transition": 27}[task]
    heard, given = loudness(path), loudness(tmp_path / "clip.mp4")
    assert given > 0.1 and heard == pytest.approx(given, rel=0.1)


def loudness(path) -> float:
    """Of the first half second of a file."""
    with av.open(path) as film:
        sound = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
    return abs(sound[:, 4096:22050]).mean()
