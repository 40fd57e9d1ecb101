"""Extension, transition and loop in a real server, from a file with sound to a file with sound."""

import av
import graphs
import numpy
import pytest
from films import write_film
from messages import cancelled_at

from cli.client import ExecutionFailed, PromptRejected

RATE, SOUND, FRAMES = 24, 32000, 48


@pytest.fixture(scope="module")
def sounding(base):
    """Two seconds of film at 24 frames a second, with two seconds of a tone."""
    path = base / "input" / "sounding.mp4"
    write_film(path, FRAMES, RATE, SOUND)
    return path


def joining(class_type, **changes):
    """A graph that makes sounding.mp4 longer and saves it."""
    settings = dict(
        model=["model", 0], vae=["vae", 0], video=["file", 0], negative=["negative", 0], overlap=5, noise="0", seed=1, steps=2,
        cfg=1.0, shift=5.0, sampler_name="euler", scheduler="flow_match", color_match=0.5, cross_fade=0, fps=16.0,
        frames_in="memory",
    )  # fmt: skip
    graph = {key: made for key, made in graphs.base_graph().items() if key not in ("sampler", "frames", "empty", "video")}
    graph["file"] = graphs.node("LoadVideo", file="sounding.mp4")
    graph["join"] = graphs.node(class_type, **(settings | changes))
    graph["save"]["inputs"]["video"] = ["join", 3]
    return graph


def extending(**changes):
    settings = {"new_frames": 8, "hops": 3, "direction": "forwards", "hop_seed": "increment", "resample": "keep"}
    return joining("PusaExtendVideo", **({"positive.prompt0": ["positive", 0]} | settings | changes))


def read(base, files):
    """Frames, rate and loudness [seconds / 10] of the saved video."""
    (file,) = [file for file in files if file.filename.endswith(".mp4")]
    with av.open(str(file.path(base))) as container:
        rate = container.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        container.seek(0)
        assert container.streams.audio[0].rate == SOUND
        wave = numpy.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)[0]
    tenth = SOUND // 10
    return frames, rate, [abs(wave[start : start + tenth]).mean() > 0.1 for start in range(0, len(wave) - tenth, tenth)]


@pytest.mark.parametrize("frames_in", ["memory", "disk"])
@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_film_is_extended_with_its_rate_and_sound(base, ask, sounding, direction, frames_in):
    graph = extending(direction=direction, frames_in=frames_in)
    frames, rate, loud = read(base, ask(lambda client: client.run(graph)))
    assert (len(frames), rate) == (FRAMES + 24, RATE)
    begin = 10 if direction == "backwards" else 0  # tenths of a second
    wanted = [begin <= tenth < begin + 20 for tenth in range(len(loud))]
    assert sum(found != expected for found, expected in zip(loud, wanted)) <= 1
    with av.open(str(sounding)) as container:
        given = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    kept = frames[24:] if direction == "backwards" else frames[:FRAMES]
    assert numpy.abs(numpy.stack(kept).astype(int) - numpy.stack(given)).mean() < 4, "encoded again, but the same film"


def test_a_film_of_24_frames_goes_to_16_and_back(base, ask, sounding):
    frames, rate, _ = read(base, ask(lambda client: client.run(extending(resample="blend"))))
    assert (len(frames), rate) == (FRAMES + 36, RATE)
    graph = joining("PusaTransition", positive=["positive", 0], new_frames=7, resample="blend")
    frames, rate, _ = read(base, ask(lambda client: client.run(graph)))
    assert (len(frames), rate) == (FRAMES + 11, RATE)


def test_a_transition_and_a_loop(base, ask, sounding):
    shared = {"positive": ["positive", 0], "new_frames": 7}
    frames, rate, loud = read(base, ask(lambda client: client.run(joining("PusaTransition", **shared))))
    assert (len(frames), rate) == (FRAMES + 7, RATE)
    graph = joining("PusaTransition", **shared, video_after=["file", 0], frames_in="disk")
    frames, rate, loud = read(base, ask(lambda client: client.run(graph)))
    assert len(frames) == 2 * FRAMES + 7
    assert loud[5] and not loud[21] and loud[30], "the tone, silence, the tone again"


def steps_taken(ask, graph):
    seen = []
    ask(lambda client: client.run(graph, seen.append))
    return {each.value for each in seen if each.node_id == "join"}


def test_a_changed_prompt_redoes_its_hop_and_those_behind(ask, sounding):
    prompts = {f"positive.prompt{hop}": ["positive", 0] for hop in range(3)}
    assert {1, 2, 3, 4, 5, 6} <= steps_taken(ask, extending(seed=50, **prompts))
    changed = prompts | {"positive.prompt2": ["negative", 0]}
    assert steps_taken(ask, extending(seed=50, **changed)) - {0, 6} == {5}


def test_cancelling_keeps_the_hops_that_are_done(ask, sounding):
    """Cancelled in the third of twelve hops, the same graph begins there again."""
    graph = extending(seed=60, steps=400, hops=12)
    assert min(ask(lambda client: cancelled_at(client, graph, "join", 811))) < 400
    assert min(ask(lambda client: cancelled_at(client, graph, "join", 1))) > 800


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"hops": 0}, PromptRejected, "Value 0 smaller than min of 1"),
        ({"noise": "loud"}, PromptRejected, "`loud` in `noise` is not a number"),
        ({"overlap": 53}, ExecutionFailed, "Extend Video \\(Pusa\\): the clip has 48 frames, but 53 are needed"),
        ({"new_frames": 9}, ExecutionFailed, "`new_frames` is 9; it must be a multiple of 4"),
        ({"positive.prompt1": ["positive", 0], "hops": 1}, ExecutionFailed, "2 prompts are connected for 1 hop"),
    ],
)
def test_mistakes_are_told_in_words(ask, sounding, changes, error, words):
    with pytest.raises(error, match=words):
        ask(lambda client: client.run(extending(**changes)))
