"""A timeline from the command line: its files go to the server, its other lines stay, and the video is that of the other tasks."""

import json
import random
from dataclasses import replace

import av
import numpy as np
import pytest
from command_line import GIVEN, SMALL, run
from pusa.schedulers.timeline import read_timeline

from cli.__main__ import main
from cli.graph.fill import fill
from cli.graph.filling import upload_name
from cli.graph.links import GraphError, only
from cli.graph.settings import Settings
from cli.graph.tasks import GRAPHS, TASKS, read_graph, task_graph
from cli.graph.timeline import SOCKET, name_in, name_span

PICTURES = [GIVEN / f"nano_{frame}.png" for frame in ("00", "16", "32")]
CLIP = GIVEN / "nano_begins.mp4"
FILM = GIVEN / "nano_film.txt"
PIECES = (
    *("0", "last", "-", ": ", ":", "\uff1a", ", ", ",", "\uff0c", "\u3001", "noise 0.2", "noise ", "..", "fit pad", "a.png", "b"),
    *('"', '"', '\\"', "\\", " from ", "from", "end", "3s", " #", "#", " ", "\t", "\u3000", "image0", "image", "7", "\r", "sub/"),
)


def filled(path, **changes):
    settings = Settings(prompt=("words",), timeline=(path,), **changes)
    return fill(task_graph(TASKS["timeline"], "wan22", True)[1], TASKS["timeline"], settings)


def text_of(made) -> str:
    return made.graph[only(made.graph, "PusaTimeline")]["inputs"]["timeline"]


def frames_of(folder) -> np.ndarray:
    (path,) = folder.glob("*.mp4")
    with av.open(path) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


LINES = (  # of a text, and what becomes of each where {name} is the name on the server
    ("# 0: a.png", None),
    ("", None),
    ("0: a.png, noise 0.2", "0: {a}, noise 0.2"),
    ("\t4 :a.png from end  # a.png", "\t4 :{a} from end  # a.png"),
    ('8: "b, \\c #1.png" from 3.2s, noise 0, 1', '8: "{b}" from 3.2s, noise 0, 1'),
    ("12-20\uff1asub/d.png\uff0cnoise 0", "12-20\uff1a{d}\uff0cnoise 0"),
    ('24: "far from home.mp4"', '24: "{far}"'),
    (f"28: {PICTURES[0]} # b", "28: {nano_00} # b"),
    ('32: "image0"', '32: "{image0}"'),
    (f"28: {PICTURES[0]}#", None),
    ("36: gone.png", None),
    ("40: a.png [output]", None),
    ("44: sub", None),
    ("no colon", None),
    ("48:", None),
    ('52: "a.png', None),
    ("a: \x00", None),
    ("56: " + "x" * 5000, None),
    ("last: a.pn\r", None),
)


def test_files_that_are_there_go_to_the_server_and_all_else_stays(tmp_path):
    """A file beside the text, in a folder, by its whole path, in quotation marks, twice; and lines that name none."""
    (tmp_path / "sub").mkdir()
    files = {"a": "a.png", "b": "b, c #1.png", "d": "sub/d.png", "far": "far from home.mp4", "image0": "image0"}
    files = {key: tmp_path / name for key, name in files.items()} | {"nano_00": PICTURES[0]}
    for key, path in files.items():
        path.exists() or path.write_text(key)
    film = tmp_path / "film.txt"
    film.write_bytes(b"\xef\xbb\xbf" + "\n".join(line for line, _ in LINES).encode())
    names = {key: f"pusa/{upload_name(path)}" for key, path in files.items()}
    made = filled(film)
    assert made.uploads == {names[key]: path for key, path in files.items()}
    assert text_of(made).split("\n") == [wanted.format(**names) if wanted else line for line, wanted in LINES]


def test_the_name_in_a_line_is_the_one_that_the_node_reads():
    """Random lines: what the node reads in one is read here too, and with another name there it reads the same but for that."""
    chance, read = random.Random(0), 0
    for _ in range(60_000):
        line = chance.choice(("", "0", "0: ", "8-12: ")) + "".join(chance.choices(PIECES, k=chance.randrange(8)))
        span = name_span(line)
        for item in read_timeline(line)[0]:
            read += 1
            assert name_in(line[slice(*span)]) == item.source
            assert bool(SOCKET.fullmatch(line[slice(*span)])) == item.socket
            mark = '"' if line[span[0]] == '"' else ""
            renamed = line[: span[0]] + mark + "pusa/a-0.png" + mark + line[span[1] :]
            assert read_timeline(renamed)[0] == [replace(item, source="pusa/a-0.png", socket=False)]
    assert read > 5000


@pytest.mark.parametrize(
    ("line", "name"), [("4: image0", "image0"), ("4: image12 from end", "image12"), ("x:image7 # a", "image7")]
)
def test_a_socket_is_refused_by_its_line(tmp_path, line, name):
    (tmp_path / "film.txt").write_text(f"# a film\n0: a.png\n{line}")
    with pytest.raises(GraphError, match=f"--timeline: line 3 names the socket `{name}`, and there is nothing to connect"):
        filled(tmp_path / "film.txt")


def test_a_text_that_is_none_is_told(tmp_path, capsys):
    (tmp_path / "film.txt").write_bytes(b"0: \xff.png")
    line = ["timeline", "--timeline", str(tmp_path / "film.txt"), "--prompt", "words", "--dry_run"]
    assert main(line) == 2
    assert "film.txt cannot be read as text in UTF-8: 'utf-8' codec" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["timeline", "--prompt", "words"])
    assert "--timeline takes 1 for timeline, not 0\n" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["wan21", "mochi"])
def test_a_model_without_a_graph_is_told(model, capsys):
    assert main(["timeline", "--model", model, "--timeline", str(FILM), "--prompt", "words", "--dry_run"]) == 2
    assert f"Error: --model {model} has no graph for timeline; its tasks are t2v, i2v, start-end, " in capsys.readouterr().err


def test_the_film_of_the_embedded_model_is_the_text_of_its_graph():
    graph = read_graph(GRAPHS / "demo_timeline.json")
    assert graph[only(graph, "PusaTimeline")]["inputs"]["timeline"] == FILM.read_text().strip()


def test_pictures_give_the_video_of_the_task_keyframes(server, tmp_path):
    """Bit for bit; a file on the server that has the name of one of ours is left alone, and the line gets another name."""
    film = tmp_path / "film.txt"
    film.write_text(f'0: {PICTURES[0]}, noise 0\n4: "{PICTURES[1]}", noise 0.3  # in the middle\nlast: {PICTURES[2]}, noise 0.5')
    taken = server.base_directory / "input" / "pusa" / upload_name(PICTURES[1])
    taken.parent.mkdir(exist_ok=True)
    taken.write_bytes(b"taken")
    flags = ("--server", server.url, *SMALL, "--seed", 7, "--prompt_file", "nano_positive.safetensors")
    run("timeline", tmp_path / "one", *flags, "--timeline", film)
    assert taken.read_bytes() == b"taken"
    taken.unlink()
    given = ("--image_paths", *PICTURES, "--cond_position", "0,1,2", "--noise_multipliers", "0,0.3,0.5")
    run("keyframes", tmp_path / "other", *flags, *given)
    made = frames_of(tmp_path / "one")
    assert len(made) == 9 and np.array_equal(made, frames_of(tmp_path / "other"))


def test_a_clip_gives_the_video_of_the_task_completion(server, tmp_path):
    """Bit for bit: its first frame at the start, its last four at the end behind one that primes the VAE. The graph of completion
    makes its clips smaller first; that is taken out."""
    graph = read_graph(GRAPHS / "demo_completion.json")
    scaled = {id: node["inputs"]["image"] for id, node in graph.items() if node["class_type"] == "ImageScale"}
    for node in graph.values():
        node["inputs"] |= {name: scaled.get(value[0], value) for name, value in node["inputs"].items() if isinstance(value, list)}
    (tmp_path / "own.json").write_text(json.dumps({id: node for id, node in graph.items() if id not in scaled}))
    film = tmp_path / "film.txt"
    film.write_text(f"0: {CLIP}, noise 0.1\n4-last: {CLIP} from end, noise 0.2")
    flags = ("--server", server.url, *SMALL, "--seed", 8, "--prompt_file", "nano_positive.safetensors")
    run("timeline", tmp_path / "one", *flags, "--timeline", film)
    given = ("--video_path", CLIP, "--cond_position", "0,last", "--noise_multipliers", "0.1,0.2", "--graph", tmp_path / "own.json")
    run("completion", tmp_path / "other", *flags, *given)
    made = frames_of(tmp_path / "one")
    assert len(made) == 9 and np.array_equal(made, frames_of(tmp_path / "other"))


def test_what_the_server_says_of_a_line_is_a_sentence(server, tmp_path):
    """Before it runs: files that are not there either, and lines that cannot be read. While it runs: places."""
    film = tmp_path / "film.txt"
    film.write_text("0: gone.png\n4 a.png")
    done = run("timeline", tmp_path, "--server", server.url, *SMALL, "--timeline", film, code=1)
    assert "(PusaTimeline), input timeline: line 2: `4 a.png` has no colon." in done.stderr
    film.write_text("0: gone.png")
    done = run("timeline", tmp_path, "--server", server.url, *SMALL, "--timeline", film, code=1)
    assert "(PusaTimeline), input timeline: line 1: there is no file `gone.png` in ComfyUI's input folder." in done.stderr
    film.write_text(f"40: {PICTURES[0]}")
    done = run("timeline", tmp_path, "--server", server.url, *SMALL, "--timeline", film, code=1)
    assert "Timeline (Pusa): line 1: frame 40 is outside the clip. The latent has 3 frames (9 pixel frames)" in done.stderr
