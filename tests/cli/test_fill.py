"""Settings in graphs: each lands in its node, whatever its number, and nothing else changes."""

import copy
import json
from pathlib import Path

import pytest
from mochi_graph import mochi_graph

from cli.graph.fill import fill
from cli.graph.links import GraphError, links, only
from cli.graph.settings import Settings
from cli.graph.tasks import GRAPHS, LACKING, MODELS, TASKS, read_graph, task_graph
from devtools.weights.models import MODELS as MODEL_FILES

FILES = Path(__file__).resolve().parents[2] / "assets" / "nano" / "input"
PICTURES = tuple(FILES / f"nano_{frame}.png" for frame in ("00", "16", "32"))
FILM = FILES / "nano_film.txt"
CLIPS = (FILES / "nano_begins.mp4", FILES / "nano_ends.mp4")
COUNTS = {"t2v": 0, "i2v": 1, "start-end": 2, "keyframes": 3, "timeline": 1, "completion": 1, "extend": 1, "transition": 2}
DISTILLED = ("wan22", "wan21")
GIVEN_GRAPHS = [
    (name, model, distilled)
    for name in TASKS
    for model in (*MODELS, "own mochi")
    for distilled in ((False, True) if model in DISTILLED else (False,))
    if TASKS[name].graph not in LACKING.get(model, ())
]


def graph_of(name: str, model: str, lightx2v: bool) -> dict:
    return mochi_graph(name) if model == "own mochi" else task_graph(TASKS[name], model, lightx2v)[1]


def given(name: str, model: str = "wan22", **changes) -> Settings:
    kinds = {"pictures": {"image_paths": PICTURES}, "videos": {"video_paths": CLIPS}, "timeline": {"timeline": (FILM,)}, "": {}}
    files = {flag: paths[: COUNTS[name]] for flag, paths in kinds[TASKS[name].files].items()}
    prompt = {"prompt_file": ("stored",)} if model == "nano" else {"prompt": ("words",)}
    return Settings(**(files | prompt | changes))


def filled(name: str, model: str = "wan22", lightx2v: bool = False, **changes):
    return fill(graph_of(name, model, lightx2v), TASKS[name], given(name, model, **changes))


def inputs_of(graph: dict, class_type: str) -> dict:
    return graph[only(graph, class_type)]["inputs"]


def behind(graph: dict, class_type: str, socket: str) -> dict:
    return graph[links(graph[only(graph, class_type)])[socket]]["inputs"]


@pytest.mark.parametrize(("name", "model", "lightx2v"), GIVEN_GRAPHS)
def test_what_is_not_given_stays_as_it_is(name, model, lightx2v):
    graph = graph_of(name, model, lightx2v)
    before = copy.deepcopy(graph)
    made = fill(graph, TASKS[name], given(name, model)).graph
    assert graph == before
    changed = {
        (node["class_type"], socket)
        for id, node in made.items()
        for socket, value in node["inputs"].items()
        if value != graph[id]["inputs"][socket]
    }
    encoder = ("PusaLoadPrompt", "prompt_name") if model == "nano" else ("CLIPTextEncode", "text")
    loaders = {"pictures": ("LoadImage", "image"), "videos": ("LoadVideo", "file"), "timeline": ("PusaTimeline", "timeline")}
    assert changed == {encoder} | {loaders[kind] for kind in (TASKS[name].files,) if kind}
    assert made.keys() == graph.keys()


@pytest.mark.parametrize(("name", "model", "lightx2v"), GIVEN_GRAPHS)
def test_lightx2v_means_four_steps_and_no_guidance(name, model, lightx2v):
    graph = filled(name, model, lightx2v).graph
    sampling = inputs_of(graph, TASKS[name].sampler)
    names = {value for node in graph.values() for key, value in node["inputs"].items() if key.startswith("distill_lora_name")}
    assert ((sampling["steps"], sampling["cfg"]) == (4, 1)) == lightx2v
    assert names <= {file.name for file in MODEL_FILES["lightx2v"]} if lightx2v else names == {"none"}


def test_flags_of_the_official_scripts_for_two_models():
    made = filled(
        "i2v", lightx2v=True, negative_prompt="blurred", cond_position=(10,), noise_multipliers=(0.3,), num_inference_steps=6,
        cfg_scale=1.5, high_lora_alpha=1.6, low_lora_alpha=1.3, switch_DiT_boundary=0.9, seed=7, shift=8.0,
        sampler="uni_pc", scheduler="simple", width=480, height=832, num_frames=49, fps=24.0,
    )  # fmt: skip
    graph, sampling = made.graph, inputs_of(made.graph, "PusaKSampler")
    values = {"steps": 6, "cfg": 1.5, "boundary": 0.9, "seed": 7, "shift": 8.0, "sampler_name": "uni_pc", "scheduler": "simple"}
    assert sampling.items() >= values.items()
    loader = inputs_of(graph, "PusaModelPairLoader")
    assert (loader["strength_high"], loader["strength_low"]) == (1.6, 1.3)
    assert behind(graph, "PusaKSampler", "positive")["text"] == "words"
    assert behind(graph, "PusaKSampler", "negative")["text"] == "blurred"
    assert behind(graph, "PusaKSampler", "latent_image").items() >= {"width": 480, "height": 832, "length": 49}.items()
    assert inputs_of(graph, "PusaKeyframes").items() >= {"positions": "10", "unit": "latent", "noise": "0.3"}.items()
    assert inputs_of(graph, "CreateVideo")["fps"] == 24
    ((name, file),) = made.uploads.items()
    assert file == PICTURES[0] and name.startswith("pusa/nano_00-")
    assert behind(graph, "PusaKeyframes", "images.image0")["image"] == name


def test_one_model_takes_one_strength():
    assert inputs_of(filled("t2v", "wan21", lora_alpha=1.1).graph, "PusaModelLoader")["strength"] == 1.1


def test_the_strength_goes_to_the_pusa_lora_of_a_chain():
    """The distillation LoRA stands between it and the sampler."""
    graph = read_graph(GRAPHS / "demo_t2v.json")
    loader = only(graph, "PusaModelLoader")
    sampler = graph[only(graph, "PusaKSampler")]["inputs"]
    for id, before, name in (("x", loader, "pusa_v1.pt"), ("y", "x", "lightx2v.safetensors")):
        graph[id] = {"class_type": "PusaLoraLoader", "inputs": {"model": [before, 0], "lora_name": name, "strength": 1.0}}
    graph[loader] = {"class_type": "UNETLoader", "inputs": {}}
    sampler["model"] = ["y", 0]
    made = fill(graph, TASKS["t2v"], Settings(lora_alpha=1.2)).graph
    assert (made["x"]["inputs"]["strength"], made["y"]["inputs"]["strength"]) == (1.2, 1.0)


def test_node_numbers_do_not_matter():
    graph = task_graph(TASKS["keyframes"], "wan22", True)[1]
    renamed = {id: f"n{number}" for number, id in enumerate(reversed(graph))}

    def rename(made: dict) -> dict:
        def moved(inputs: dict) -> dict:
            return {name: [renamed[v[0]], v[1]] if isinstance(v, list) else v for name, v in inputs.items()}

        return {renamed[id]: node | {"inputs": moved(node["inputs"])} for id, node in made.items()}

    settings = given("keyframes", noise_multipliers=(0.1, 0.2, 0.3), high_lora_alpha=1.0, seed=3)
    assert fill(rename(graph), TASKS["keyframes"], settings).graph == rename(fill(graph, TASKS["keyframes"], settings).graph)


def test_more_pictures_than_the_graph_has():
    made = filled("keyframes", image_paths=(*PICTURES, CLIPS[0]), cond_position=(0, 5, 10, "last"), noise_multipliers=(0.2,))
    keyframes = inputs_of(made.graph, "PusaKeyframes")
    assert (keyframes["positions"], keyframes["noise"]) == ("0, 5, 10, last", "0.2")
    names = [made.graph[keyframes[f"images.image{number}"][0]]["inputs"]["image"] for number in range(4)]
    assert [name.split("-")[0] for name in names] == ["pusa/nano_00", "pusa/nano_16", "pusa/nano_32", "pusa/nano_begins"]
    assert list(made.uploads.values()) == [*PICTURES, CLIPS[0]]


def test_fewer_pictures_leave_no_loader_behind():
    made = filled("keyframes", image_paths=PICTURES[:1], cond_position=(4,), noise_multipliers=(0,)).graph
    assert [name for name in inputs_of(made, "PusaKeyframes") if name.startswith("images.")] == ["images.image0"]
    assert sum(node["class_type"] == "LoadImage" for node in made.values()) == 1


KEPT = {  # positions: what the nodes of the start and of the end are set to, frames and noise
    (0, 1, 2, 3): ((13, "0.1, 0.2, 0.3, 0.4"), None),
    (3, 1): ((13, "1, 0.2, 1, 0.1"), None),
    (0, 20): ((81, "0.1" + ", 1" * 19 + ", 0.2"), None),
    (0, "last"): ((1, "0.1"), (5, "0.2")),
    (0, 1, 2, -3, -2, "last"): ((9, "0.1, 0.2, 0.3"), (13, "0.4, 0.5, 0.6")),
    (-1, -4): (None, (17, "0.2, 1, 1, 0.1")),
    (10,): ((41, "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1"), None),
    (-21,): (None, (85, "0.1" + ", 1" * 20)),
}


@pytest.mark.parametrize("positions", KEPT, ids=str)
@pytest.mark.parametrize("model", ["wan22", "wan21", "nano"])
def test_any_latent_frames_of_a_clip_are_kept_and_those_between_are_free(positions, model):
    """Those from the start on are of the first frames of the clip, those from the end of its last ones, behind one more."""
    noise = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)[: len(positions)]
    made = filled("completion", model, cond_position=positions, noise_multipliers=noise, num_frames=81)
    ends = {node["inputs"]["place"]: node["inputs"] for node in made.graph.values() if node["class_type"] == "PusaVideoFrames"}
    wanted = {place: values for place, values in zip(("start", "end"), KEPT[positions]) if values}
    assert {place: (inputs["frames"], inputs["noise"]) for place, inputs in ends.items()} == wanted
    assert all(inputs["take"] == place for place, inputs in ends.items())
    assert list(made.uploads.values()) == [CLIPS[0]]
    assert_whole(made.graph)


def assert_whole(graph: dict) -> None:
    """Every link has its node, and every node but those that show something serves another one."""
    sources = {source for node in graph.values() for source in links(node).values()}
    assert sources <= graph.keys()
    assert {graph[id]["class_type"] for id in graph.keys() - sources} <= {"SaveVideo", "PusaConditionPlot"}


def test_one_noise_goes_for_all_kept_frames_and_none_is_that_of_the_graph():
    for noise, level in (((0.4,), "0.4"), ((), "0.3")):
        made = filled("completion", cond_position=(0, 1, 3), noise_multipliers=noise).graph
        assert inputs_of(made, "PusaVideoFrames").items() >= {"frames": 13, "noise": f"{level}, {level}, 1, {level}"}.items()


def test_a_completion_may_end_with_another_clip():
    made = filled("completion", video_paths=CLIPS)
    assert sorted(made.uploads.values()) == sorted(CLIPS)
    for positions in ((0, 1, 18, 19, 20), (0, 1, -3, -2, "last")):
        made = filled("completion", video_paths=CLIPS, cond_position=positions)
        kept = {node["inputs"]["place"]: node["inputs"] for node in made.graph.values() if node["class_type"] == "PusaVideoFrames"}
        assert (kept["start"]["frames"], kept["end"]["frames"]) == (5, 13)
        assert sorted(made.uploads.values()) == sorted(CLIPS)


def test_a_prompt_for_each_hop():
    made = filled("extend", prompt=("one", "two", "three"), hops=4, cond_position=(0, 1), new_frames=20, direction="backwards")
    inputs = inputs_of(made.graph, "PusaExtendVideo")
    assert inputs.items() >= {"hops": 4, "overlap": 5, "new_frames": 20, "direction": "backwards"}.items()
    assert [made.graph[inputs[f"positive.prompt{hop}"][0]]["inputs"]["text"] for hop in range(3)] == ["one", "two", "three"]
    assert "positive.prompt3" not in inputs


def test_fewer_prompts_than_the_graph_has():
    graph = read_graph(GRAPHS / "demo_extend_ten.json")
    made = fill(graph, TASKS["extend"], given("extend", "nano")).graph
    assert [name for name in inputs_of(made, "PusaExtendVideo") if name.startswith("positive.")] == ["positive.prompt0"]
    assert sum(node["class_type"] == "PusaLoadPrompt" for node in made.values()) == 2


def test_a_transition_of_one_clip_is_a_loop():
    made = filled("transition", video_paths=CLIPS[:1])
    assert "video_after" not in inputs_of(made.graph, "PusaTransition")
    assert sum(node["class_type"] == "LoadVideo" for node in made.graph.values()) == 1


WRONG = {
    "no prompt": ("t2v", {"prompt": ()}, "--prompt is missing"),
    "a stored prompt for a text": ("t2v", {"prompt_file": ("x",)}, "the graph takes texts .* give --prompt$"),
    "two prompts": ("t2v", {"prompt": ("a", "b")}, "--prompt is given 2 times for one video"),
    "more prompts than hops": ("extend", {"prompt": ("a", "b")}, "2 times for 1 hop; raise --hops"),
    "one strength for two models": ("t2v", {"lora_alpha": 1.4}, "two models; give --high_lora_alpha and --low_lora_alpha"),
    "a position outside": ("i2v", {"cond_position": (21,)}, r"21: the video has 21 latent frames \(81 frames\), 0 to 20, or -21"),
    "a position twice": ("start-end", {"cond_position": (0, -21)}, "names latent frame 0 twice"),
    "too few positions": ("start-end", {"cond_position": (0,)}, "--cond_position has 1 values for 2 given frames; it takes 2"),
    "too much noise": ("i2v", {"noise_multipliers": (0.1, 0.2)}, "2 values for 1 given frame; it takes 1, or one for all"),
    "more pictures without positions": ("i2v", {"image_paths": PICTURES}, "--cond_position is missing: 3 pictures .* places 1"),
    "ends that meet": ("completion", {"cond_position": (0, 12, -10)}, r"12 lies behind -10, .* from the end \(11\); count all"),
    "a clip left out": ("completion", {"video_paths": CLIPS, "cond_position": (0, 1)}, "0, 1 leaves out a clip; give 0 or more"),
    "noise for other frames": ("completion", {"cond_position": (0, 9), "noise_multipliers": (0.1,) * 3}, "3 values for 2 given"),
    "an overlap that begins late": ("extend", {"cond_position": (1, 2)}, "takes the latent frames from 0 on"),
    "a file that is gone": ("i2v", {"image_paths": (Path("gone.png"),)}, "gone.png cannot be read: No such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named_with_what_is_allowed(case):
    name, changes, words = WRONG[case]
    with pytest.raises(GraphError, match=words):
        filled(name, **changes)


def test_a_boundary_needs_two_models():
    with pytest.raises(GraphError, match="--switch_DiT_boundary: the graph samples with one model"):
        filled("t2v", "wan21", switch_DiT_boundary=0.9)


def test_a_text_for_a_stored_prompt():
    with pytest.raises(GraphError, match=r"--prompt: the graph takes stored prompts \(PusaLoadPrompt\); give --prompt_file"):
        filled("t2v", "nano", prompt=("words",))


@pytest.mark.parametrize(("name", "lacks"), [("i2v", "PusaKeyframes"), ("t2v", "PusaKSampler"), ("extend", "SaveVideo")])
def test_a_graph_that_lacks_a_node_is_an_error(name, lacks):
    graph = task_graph(TASKS[name], "wan21", False)[1]
    del graph[only(graph, lacks)]
    with pytest.raises(GraphError, match=f"no nodes of type {lacks} are in the graph"):
        fill(graph, TASKS[name], given(name))


def test_a_graph_that_takes_its_prompt_from_elsewhere_is_an_error():
    graph = read_graph(GRAPHS / "wan21_t2v.json")
    graph[links(graph[only(graph, "PusaKSampler")])["negative"]]["class_type"] = "ConditioningZeroOut"
    with pytest.raises(GraphError, match="negative of PusaKSampler comes from ConditioningZeroOut; it must be CLIPTextEncode or"):
        fill(graph, TASKS["t2v"], given("t2v", negative_prompt="x"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        (json.dumps({"nodes": [], "links": []}), "is a workflow for the page.*Export"),
        ("[1]", "is not a graph in API format"),
    ],
)
def test_a_file_that_is_no_graph_is_an_error(tmp_path, text, words):
    (tmp_path / "graph.json").write_text(text)
    with pytest.raises(GraphError, match=words):
        read_graph(tmp_path / "graph.json")
