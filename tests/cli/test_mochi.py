"""Mochi counts in sixes: every length, position and overlap of the command line follows the graph."""

import json
from collections import Counter

import pytest
from command_line import GIVEN, run
from mochi_graph import mochi_file, mochi_graph

from cli.__main__ import main
from cli.graph.fill import fill
from cli.graph.geometry import factor_of
from cli.graph.links import GraphError, only
from cli.graph.settings import Settings
from cli.graph.tasks import GRAPHS, LACKING, TASKS, read_graph, task_graph

PICTURES = tuple(GIVEN / f"nano_{frame}.png" for frame in ("00", "16", "32"))
CLIPS = (GIVEN / "nano_begins.mp4", GIVEN / "nano_ends.mp4")
FILES = {  # flags that give a task its files
    "t2v": (), "i2v": ("--image_paths", *PICTURES[:1]), "start-end": ("--image_paths", *PICTURES[:2]),
    "keyframes": ("--image_paths", *PICTURES), "timeline": ("--timeline", GIVEN / "nano_film.txt"),
    "completion": ("--video_path", CLIPS[0]), "extend": ("--video_path", CLIPS[0]), "transition": ("--video_paths", *CLIPS),
}  # fmt: skip


def filled(name: str, **settings) -> dict:
    files = {"pictures": {"image_paths": PICTURES[: TASKS[name].least]}, "videos": {"video_paths": CLIPS[:1]}, "": {}}
    return fill(mochi_graph(name), TASKS[name], Settings(prompt=("words",), **(files[TASKS[name].files] | settings))).graph


def inputs_of(graph: dict, class_type: str) -> dict:
    return graph[only(graph, class_type)]["inputs"]


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.json")), ids=lambda path: path.stem)
def test_a_graph_says_whether_it_is_of_mochi(path):
    assert factor_of(read_graph(path)) == (6 if path.name.startswith("mochi") else 4)


@pytest.mark.parametrize("name", TASKS)
def test_a_graph_of_ones_own_says_so_too(name):
    assert factor_of(mochi_graph(name)) == 6


LENGTHS = [  # task, flag; what Wan takes, a length of that sort; the same for Mochi; neither takes the other's length
    ("t2v", "--num_frames", "from 1 to 16381 that is 4n + 1", 81, "from 7 to 16381 that is 6n + 1", 163),
    ("extend", "--overlap", "from 1 to 8001 that is 4n + 1", 17, "from 1 to 7999 that is 6n + 1", 19),
    ("extend", "--new_frames", "from 4 to 8000 that is a multiple of 4", 64, "from 6 to 7998 that is a multiple of 6", 150),
    ("transition", "--overlap", "from 5 to 8001 that is 4n + 1", 5, "from 7 to 7999 that is 6n + 1", 7),
    ("transition", "--new_frames", "from 3 to 7999 that is 4n + 3", 51, "from 5 to 7997 that is 6n + 5", 77),
]


@pytest.mark.parametrize(("name", "flag", "to_wan", "fours", "to_mochi", "sixes"), LENGTHS)
def test_a_length_is_that_of_the_models_of_the_graph(tmp_path, capsys, name, flag, to_wan, fours, to_mochi, sixes):
    own = ("--graph", mochi_file(name, tmp_path))
    for graph, good, wrong, rule in ((own, sixes, fours, f"{to_mochi} with Mochi"), (("--model", "wan21"), fours, sixes, to_wan)):
        line = [*map(str, (name, *graph, *FILES[name], "--prompt", "words", "--dry_run", flag))]
        assert main([*line, str(good)]) == 0
        made = json.loads(capsys.readouterr().out)
        assert good in [value for node in made.values() for value in node["inputs"].values()]
        assert main([*line, str(wrong)]) == 2
        assert capsys.readouterr().err.endswith(f": {flag}: '{wrong}' is not a whole number {rule}\n")


def test_a_wrong_length_is_no_matter_of_single_jobs(tmp_path, pictures, capsys):
    line = ["i2v", "--graph", mochi_file("i2v", tmp_path), "--inputs", pictures, "--prompt", "words", "--num_frames", 81]
    assert main([*map(str, line), "--dry_run"]) == 2
    assert "Error: my_mochi_i2v.json: --num_frames: '81'" in capsys.readouterr().err


def test_a_picture_goes_to_any_latent_frame_of_28():
    for position in (0, 27, -28, "last"):
        keyframes = inputs_of(filled("i2v", cond_position=(position,), noise_multipliers=(0.4,)), "PusaKeyframes")
        assert keyframes.items() >= {"positions": str(position), "unit": "latent", "noise": "0.4"}.items()
    with pytest.raises(GraphError, match=r"28: the video has 28 latent frames \(163 frames\), 0 to 27, or -28 to -1"):
        filled("i2v", cond_position=(28,))
    with pytest.raises(GraphError, match=r"14: the video has 14 latent frames \(79 frames\)"):
        filled("i2v", cond_position=(14,), num_frames=79)


def test_positions_are_frames_of_a_clip():
    """Latent frames 0 to 3 are the frames 0 to 18; 2 at the end are 12 frames and one before them."""
    assert inputs_of(filled("extend", cond_position=(0, 1, 2, 3)), "PusaExtendVideo")["overlap"] == 19
    made = filled("completion", cond_position=(0, 1, 2, 3, -2, -1), noise_multipliers=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    ends = {node["inputs"]["place"]: node["inputs"] for node in made.values() if node["class_type"] == "PusaVideoFrames"}
    assert (ends["start"]["frames"], ends["start"]["noise"]) == (19, "0, 0.1, 0.2, 0.3")
    assert (ends["end"]["frames"], ends["end"]["noise"]) == (13, "0.4, 0.5")


def test_a_completion_is_made_of_the_graph_of_a_picture():
    """Its own nodes, and those of Wan's completion between them."""
    ((name, made), wan) = task_graph(TASKS["completion"], "mochi", False), read_graph(GRAPHS / "wan21_completion.json")
    assert name == "mochi_completion"
    kinds = Counter(node["class_type"] for node in made.values())
    own = {"EmptyMochiLatentVideo": "EmptyHunyuanLatentVideo", "VAEDecodeTiled": "VAEDecode"}
    there = Counter(own.get(kind, kind) for kind in kinds.elements())
    wanted = Counter({"BasicScheduler": 1, **Counter(node["class_type"] for node in wan.values())})  # for the plot
    wanted -= Counter({"LoadVideo": 1, "GetVideoComponents": 1})
    assert there == wanted, "one clip gives both ends"
    for place, frames in (("start", 1), ("end", 7)):
        (inputs,) = [node["inputs"] for node in made.values() if node["inputs"].get("place") == place]
        other = next(node["inputs"] for node in wan.values() if node["inputs"].get("place") == place)
        assert inputs.keys() == other.keys() and (inputs["frames"], inputs["take"]) == (frames, place)


def test_the_graph_is_that_of_the_model_and_task(tmp_path):
    for name in TASKS.keys() - {*LACKING["mochi"], "completion"}:
        (tmp_path / f"mochi_{TASKS[name].graph}.json").write_text(json.dumps(mochi_graph(name)))
        assert task_graph(TASKS[name], "mochi", False, tmp_path) == (f"mochi_{TASKS[name].graph}", mochi_graph(name))


def test_what_belongs_to_wan_is_told():
    with pytest.raises(GraphError, match="no nodes load a Pusa LoRA for PusaKSampler"):
        filled("t2v", lora_alpha=1.4)
    graph = mochi_graph("t2v")
    graph[only(graph, "EmptyMochiLatentVideo")]["class_type"] = "EmptyHunyuanLatentVideo"
    with pytest.raises(GraphError, match="--num_frames: a graph of Mochi takes EmptyMochiLatentVideo"):
        fill(graph, TASKS["t2v"], Settings(prompt=("words",), num_frames=163))


@pytest.mark.parametrize("name", TASKS)
def test_a_server_lacks_nothing_but_the_files_of_the_models(server, tmp_path, name):
    """It checks every input of every node before it refuses the graph."""
    done = run(name, tmp_path, "--graph", mochi_file(name, tmp_path), "--server", server.url, *FILES[name], "--prompt", "x", code=1)
    lines = [line for line in done.stderr.splitlines() if line.startswith("  node ")]
    assert {line.split("input ")[1].split(":")[0] for line in lines} == {"unet_name", "vae_name", "clip_name"}
