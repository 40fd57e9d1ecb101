"""What `bench quality` prints: every table on few clips of few steps, and its figures where they are known."""

import re
import sys

import host_comfyui
import pytest
import torch

host_comfyui.load_pack()
sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from pusa.training.nano import words as prompts  # noqa: E402
from pusa.training.nano import world  # noqa: E402
from pusa.training.nano.quality import evaluate  # noqa: E402
from pusa.training.nano.ship import PLACES  # noqa: E402

from benchmarks.measure.report import with_part  # noqa: E402
from benchmarks.quality import renoise, rolling, schedules, tuned, words  # noqa: E402
from benchmarks.quality.__main__ import HEAD, TABLES  # noqa: E402
from benchmarks.quality.bench import FOLDER, Bench  # noqa: E402

CLIPS, STEPS = 1, 2
LENGTHS = (37, 41)  # of clips that take the place of long ones


@pytest.fixture(scope="module", autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def bench():
    return Bench(FOLDER, CLIPS, STEPS)


@pytest.fixture(scope="module")
def scene():
    return evaluate.Task(None, 1, things=1, motions=("circles",)).scenes[0]


def figures(cells):
    """The numbers of some cells; not a number and infinity fail."""
    text = " ".join(cells)
    assert not re.search(r"\b(nan|inf)\b", text), text
    return [float(number) for number in re.findall(r"-?\d+\.\d+|-?\d+", text)]


def test_every_schedule_has_a_row(bench):
    made = schedules.picture_by_schedule(bench)
    assert [row[0] for row in made.rows] == list(schedules.SCHEDULES)
    assert all(len(row) == len(made.heads) and len(figures(row[1:])) == 6 for row in made.rows)
    late = [0, 7, 14, 14, 2, 4]  # of 9 latent frames the given one costs no step, but in a block; a lag above the steps is as many
    assert [int(row[1]) for row in made.rows] == [STEPS + steps for steps in late]
    assert f"{CLIPS} clips a row" in str(made)


def test_a_picture_that_waits_has_a_row_beside_one_that_does_not(bench):
    made = schedules.waiting(bench)
    assert [tuple(row[:2]) for row in made.rows] == [
        (f"{level:g}", kind) for level in schedules.LEVELS for kind in ("scaled", "hold")
    ]
    assert all(len(figures(row[2:])) == 5 for row in made.rows)


def test_every_way_of_renoising_has_a_row(bench):
    made = renoise.many_windows(bench, hops=2)
    assert [row[0] for row in made.rows] == list(renoise.WAYS)
    assert all(len(figures(row[1:])) == 6 for row in made.rows), "two steps, and places and colours at both ends"


def test_long_clips_have_a_row_for_each_length_and_way(bench):
    ways = {name: rolling.ways()[name] for name in ("one call", "rolling, window 9", "rolling, window 9, block 3")}
    made = rolling.rolling(bench, LENGTHS, ways)
    assert [tuple(row[:2]) for row in made.rows] == [(str(frames), way) for frames in LENGTHS for way in ("the true course", *ways)]
    assert all(figures(row[2:]) for row in made.rows)
    calls = [row[2] for row in made.rows]
    assert calls[:4] == ["", f"{STEPS} of 10", f"{STEPS + 9} of 9", f"{STEPS + 3} of 9"], "the network is called with one window"
    assert calls[4:] == ["", f"{STEPS} of 11", f"{STEPS + 10} of 9", f"{STEPS + 3} of 9"]
    assert len(made.limits) == 2 and all(limit.kept for limit in made.limits)


def test_colours_that_change_are_told(scene):
    frames = 0.9 * scene.render()
    wanted = evaluate.palette(frames)
    assert evaluate.drift(frames, wanted) == 0
    assert evaluate.drift(frames + 10 / 255, wanted) == pytest.approx(10 * 3**0.5, abs=0.1)
    background = torch.tensor(world.BACKGROUNDS[scene.background])
    assert (wanted[0] / 0.9 - background).abs().max() < 0.02


def test_a_missing_frame_is_a_larger_change(scene):
    whole = scene.render(48)
    broken = torch.cat([whole[:20], whole[24:]])
    even, uneven = (evaluate.largest_change(video[None]).item() for video in (whole, broken))
    assert 1 <= even < 1.2 and uneven > 2


def test_a_true_course_is_not_away_from_itself_and_a_late_one_is(bench, scene):
    course = scene.render(renoise.BEFORE + renoise.NEW + 1)
    true, late = renoise.Judged(bench, 1), renoise.Judged(bench, 1)
    true.add(course[:-1], course[:-1])
    late.add(torch.cat([course[: renoise.BEFORE], course[renoise.BEFORE + 1 :]]), course[:-1])
    assert true.places == [[0, 0]] and set(true.joins + true.inside) == {0} and true.colours[0][0] < 2
    assert late.joins[0] > 2 * max(late.inside) > 0, "a frame is missing at the join"


def test_shapes_are_cleanest_in_true_clips(bench, monkeypatch):
    monkeypatch.setattr(words, "OUTLINES", {"cfg 1": {"cfg": 1.0}})
    made = words.outlines(bench)
    true, coded, sampled = (figures(row[1:]) for row in made.rows)
    assert made.rows[2][0] == "cfg 1" and 1 > true[0] > coded[0] > sampled[1] > 0


def test_the_page_of_figures_has_every_table():
    page = (FOLDER / "FIGURES.md").read_text(encoding="utf-8")
    parts = re.split(r"^<!-- (\w+) -->\n", page, flags=re.M)
    assert parts[0].strip() == HEAD and parts[1::2] == list(TABLES)
    assert with_part(page, parts[1], parts[2], HEAD, TABLES) == page


def test_things_that_go_aslant_are_seen_to_and_others_are_not():
    """What the LoRA is trained further on: words that the model knows, combinations that are kept from it, and their measure."""
    scenes = [tuned.scene(seed, kept) for kept in (False, True) for seed in range(12)]
    videos = torch.stack([each.render() for each in scenes])
    assert tuned.aslant(scenes, videos) == 1 and all(prompts.embed(each.caption).any() for each in scenes)
    kept = {(thing.colour, thing.shape, thing.motion) for seed in range(60) for thing in tuned.scene(seed, kept=True).things}
    known = {(thing.colour, thing.shape, thing.motion) for seed in range(300) for thing in tuned.scene(seed).things}
    assert kept and not kept & known
    moving = [motion for motion in world.MOTIONS if motion != "grows"]  # in its place, where there is no direction to tell
    straight = evaluate.Task(None, 12, things=1, motions=moving).scenes
    assert all(tuned.direction(evaluate.measure.look(each.render())[0].track) == "none" for each in straight)


def test_the_embedded_lora_is_trained_further(bench, tmp_path):
    """Its clips are encoded, and a file and the conditional loss before and after come of them."""
    with torch.inference_mode(False):
        lora, losses = tuned.train(tmp_path, bench.folder / PLACES["lora"], 1, 1, 1)
    assert lora.is_file() and losses.keys() == {0, 1}
    assert 0.1 < losses[0]["i2v"] < 1, "of latents in the scale of the model"
