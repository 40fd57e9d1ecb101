"""Progress in words: steps weigh, nodes have their titles, and the time that is left is that of the steps."""

import pytest
from command_line import GIVEN, SMALL, run

from cli.progress import Pace, duration, step_text
from cli.track import Progress, Tracker, weight

GRAPH = {
    "1": {"class_type": "VAELoader", "inputs": {}, "_meta": {"title": "Load VAE"}},
    "2": {"class_type": "PusaKSampler", "inputs": {"latent_image": ["1", 0], "steps": 30, "cfg": 3}, "_meta": {"title": "Samples"}},
    "3": {"class_type": "SaveVideo", "inputs": {}},
}


def states(**nodes) -> dict:
    return {"nodes": {id: {"state": state, "value": value, "max": most} for id, (state, value, most) in nodes.items()}}


def test_steps_weigh_more_than_nodes():
    tracker = Tracker(GRAPH)
    events = [{"1": ("running", 0, 1)}, {"1": ("finished", 1, 1), "2": ("running", 15, 30)}, {"2": ("finished", 30, 30)}]
    events[2]["3"] = ("running", 0, 1)
    made = [progress for event in events for progress in tracker.progress("progress_state", states(**event))]
    assert [progress.title for progress in made] == ["Load VAE", "Samples", "SaveVideo"]
    assert [progress.fraction for progress in made] == [0, (1 + 150) / 302, 301 / 302]


@pytest.mark.parametrize(
    ("inputs", "weighs"),
    [({}, 1), ({"steps": 30, "model": ["1", 0]}, 1), ({"steps": 4, "cfg": 1, "hops": 3}, 120), ({"latent_image": ["1", 0]}, 200)],
)
def test_a_sampler_weighs_its_steps(inputs, weighs):
    assert weight(inputs) == weighs


def test_the_time_left_is_that_of_the_steps_after_the_first():
    """The first one loads the models."""
    pace = Pace()
    said = []
    for value, now in ((0, 0.0), (1, 100.0), (2, 110.0), (3, 120.0), (30, 390.0)):
        progress = Progress("2", "KSampler (Pusa)", value, 30, 0, 302, 300)
        pace.see(progress, now)
        said.append(step_text(progress, pace).removeprefix("KSampler (Pusa): "))
    assert said == ["step 0/30", "step 1/30", "step 2/30, about 5 min left", "step 3/30, about 4 min left", "step 30/30"]
    assert pace.seconds == 10


def test_other_nodes_have_no_steps():
    pace = Pace()
    for value, words in ((1, "VAE Decode 1/8"), (3, "VAE Decode 3/8")):
        progress = Progress("5", "VAE Decode", value, 8, 0, 2)
        pace.see(progress, float(value))
        assert step_text(progress, pace) == words
    assert step_text(Progress("1", "Load VAE", 0, 1, 0, 2), pace) == "Load VAE" and pace.seconds is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1, "1 s"), (41.6, "42 s"), (60, "1 min"), (241, "4 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_a_time_is_as_exact_as_an_estimate(seconds, words):
    assert duration(seconds) == words


def test_a_run_says_steps_and_titles(server, tmp_path):
    flags = (*SMALL[2:], "--num_inference_steps", "60", "--seed", "51", "--image_paths", GIVEN / "nano_00.png")
    lines = run("i2v", tmp_path, "--server", server.url, *flags).stdout.splitlines()
    steps = [line for line in lines if ": KSampler (Pusa): step " in line]
    assert any("left" in line for line in steps[:-1]) and "step 60/60" in steps[-1] and "left" not in steps[-1]
    assert not [line for line in lines if "PusaKSampler" in line or "VAEDecode" in line]
    shares = [int(line.split("%")[0]) for line in lines if "%" in line]
    assert shares == sorted(shares)
