"""Whatever comes into a node, what leaves it is a result or a sentence: named, short, and without a path of the machine."""

import asyncio
import inspect
import os
import tempfile

import host_comfyui
import pusa
import pytest
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.define_schema().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
every_node = pytest.mark.parametrize("name", NODES)
MACHINE = (str(host_comfyui.ROOT), os.environ["COMFYUI_PATH"], tempfile.gettempdir(), os.path.expanduser("~"))

NAN, INF, HUGE = float("nan"), float("inf"), 10**400
JUNK = [None, "text", b"bytes", 3, NAN, [], {}, [None], {"samples": None}, object(), torch.zeros(2), [["x", 1]]]
TENSORS = [
    torch.tensor(0.5), torch.zeros(0), torch.zeros(0, 8, 8, 3), torch.zeros(1, 0, 8, 3), torch.zeros(5, 8, 8, 4),
    torch.tensor([0.0, 0.5, 1.0]), torch.zeros(1, 16, 3, 4, 4), torch.zeros(1, 128, 3, 4, 4), torch.zeros(1, 4, 8, 8),
    torch.zeros(1, 16, 0, 4, 4), torch.zeros(0, 16, 3, 4, 4), torch.full((1, 16, 3, 4, 4), NAN), torch.full((5, 8, 8, 3), -INF),
    torch.zeros(5, 8, 8, 3, dtype=torch.uint8), torch.zeros(1, 16, 3, 4, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.bool),
    torch.zeros(5, 8, 8, 3, dtype=torch.complex64), torch.zeros(5, 8, 8),
    torch.tensor([14.6, 1.0, 0.0]), torch.tensor([1.0, NAN, 0.0]), torch.zeros(1, 16, 3, 4, 4).to(torch.float8_e4m3fn),
]  # fmt: skip
ROOMS = torch.zeros(1, 16, 3, 4, 4)
LATENTS = [{"samples": tensor} for tensor in TENSORS] + [
    {"samples": NestedTensor([ROOMS, torch.zeros(1, 8, 16, 4)])},
    {"samples": [ROOMS]}, {"other": ROOMS}, {"samples": ROOMS, "type": object()},
    {"samples": ROOMS, "downscale_ratio_spacial": "x"}, {"samples": ROOMS, "downscale_ratio_spacial": 0},
    {"samples": ROOMS, "batch_index": "x"}, {"samples": ROOMS, "batch_index": []}, {"samples": ROOMS, "batch_index": [0, 1]},
    {"samples": ROOMS, "batch_index": [-1]}, {"samples": ROOMS, "noise_mask": "x"},
    {"samples": ROOMS, "noise_mask": torch.full((1, 32, 32), NAN)}, {"samples": ROOMS, "noise_mask": torch.zeros(0)},
    {"samples": ROOMS, "noise_mask": torch.zeros(1, 32, 32, dtype=torch.bool)},
]  # fmt: skip
PROMPTS = [[[tensor, {}]] for tensor in TENSORS if tensor.ndim != 3] + [
    [[torch.zeros(1, 8, 4096)]], [[{}, {}]], [()],
]  # fmt: skip
TEXTS = [
    "", " ", "..", "0" * 100_000, "x" * 300, "\0", "a\nb", "\ud800", "\x1b[31m", "../../x", "/etc/passwd", "C:\\x", "\\\\host\\x",
    "x.safetensors", "\U0001f600", "%s{0}",
]  # fmt: skip


def odd_numbers(each):
    numbers = [NAN, INF, -INF, HUGE, -HUGE, 2**70, each.min - 1, each.max + 1, 1e308]
    return [*numbers, "nan", "1", None, [], torch.tensor(NAN), object()]


KNOWN = {
    "STRING": [*TEXTS, *JUNK], "COMBO": [*TEXTS, *JUNK], "IMAGE": [*TENSORS, *JUNK], "VIDEO,IMAGE": [*TENSORS, *JUNK],
    "LATENT": [*LATENTS, *JUNK], "CONDITIONING": [*PROMPTS, *JUNK], "SIGMAS": [*TENSORS, *JUNK],
    "CURVE,FLOATS,FLOAT": [*TENSORS, *JUNK, NAN, INF, HUGE, [0.2] * 9, [NAN], [HUGE], -1],
}  # fmt: skip

shapes = st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 16]), max_size=6)
dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool])
tensors = st.builds(torch.zeros, shapes, dtype=dtypes) | st.builds(
    torch.full, shapes, st.sampled_from([NAN, INF, -INF, 1e38, -1.0])
)
texts = st.text(max_size=40) | st.text("0123456789.,-last \ud800\n", max_size=30) | st.text(min_size=200, max_size=400)
outside = st.integers() | st.floats() | st.text(max_size=5)
DRAWN = {
    "STRING": texts,
    "COMBO": texts,
    "IMAGE": tensors,
    "VIDEO,IMAGE": tensors,
    "LATENT": st.dictionaries(st.sampled_from(["samples", "noise_mask", "batch_index", "type", "x"]), tensors | outside),
    "CONDITIONING": st.lists(st.tuples(tensors, st.just({})).map(list), max_size=2),
    "SIGMAS": tensors,
    "CURVE,FLOATS,FLOAT": tensors | outside | st.lists(outside, max_size=3),
}


def known_values(each) -> list:
    """Odd values for an input; numbers only beyond its range, as those within may mean hours of work."""
    if isinstance(each, io.Autogrow.Input):
        return [*JUNK, *({"grown": value} for value in known_values(each.template.input))]
    if isinstance(each, (io.Int.Input, io.Float.Input)):
        return odd_numbers(each)
    known = KNOWN.get(each.get_io_type(), JUNK)
    return [value for value in known if value is not None or not each.optional]


def drawn_values(each) -> st.SearchStrategy:
    if isinstance(each, io.Autogrow.Input):
        return st.dictionaries(st.text(max_size=9), drawn_values(each.template.input), max_size=2)
    if isinstance(each, (io.Int.Input, io.Float.Input)):
        return outside.filter(lambda value: isinstance(value, str) or not each.min <= value <= each.max)
    return DRAWN.get(each.get_io_type(), st.sampled_from(JUNK[1:]))


@pytest.fixture
def short(arguments):
    """Arguments of a node that work, with as little to do as can be."""
    return {name: {key: 1 if key in ("steps", "hops") else value for key, value in given_to.items()}
            for name, (given_to, _) in arguments.items()}  # fmt: skip


def told(name: str, given_to: dict) -> str:
    """What a node says of its arguments; nothing if it runs.

    Any other exception than one ValueError in words leaves this function as it is.
    """
    node = NODES[name]
    try:
        with torch.inference_mode():
            node.execute(**host_comfyui.passed(node, given_to))
    except ValueError as error:
        words, beginning = str(error), f"{node.define_schema().display_name}: "
        if type(error) is not ValueError or not words.startswith(beginning):
            raise
        assert len(words) < 500 and not any(path in words for path in MACHINE), words
        return words
    return ""


def inputs_of(name) -> list[io.Input]:
    return [each for each in NODES[name].define_schema().inputs if not isinstance(each, io.Boolean.Input)]


NARROW, WIDE = [[torch.zeros(1, 8, 768), {}]], [[torch.zeros(1, 77, 2048), {"pooled_output": None}]]
UNUSABLE = [
    ("PusaKSampler", "positive", NARROW), ("PusaKSampler", "negative", WIDE), ("PusaTransition", "positive", WIDE),
    ("PusaExtendVideo", "positive", {"prompt0": NARROW}), ("PusaSavePrompt", "conditioning", []),
    *(("PusaSavePrompt", "prompt_name", text) for text in ("x" * 300, "\ud800")),
    *(("PusaMergeLora", "filename", text) for text in ("x" * 300, "\ud800")),
]  # fmt: skip


@every_node
def test_odd_values_end_in_a_result_or_a_sentence(name, short):
    for each in inputs_of(name):
        for value in known_values(each):
            told(name, short[name] | {each.id: value})


@pytest.mark.parametrize("name, id, value", UNUSABLE)
def test_prompts_of_other_encoders_and_impossible_names_are_told(name, id, value, short):
    assert f"`{id}`" in told(name, short[name] | {id: value})


@every_node
@given(data=st.data())
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_values_end_in_a_result_or_a_sentence(name, short, data):
    for each in inputs_of(name):
        value = data.draw(drawn_values(each), each.id)
        told(name, short[name] | {each.id: value})


@every_node
def test_a_link_to_an_input_that_is_not_there_is_named(name, short):
    """ComfyUI passes it on, such as the 101st of sockets that grow to 50."""
    assert "there is no input `images.image100`" in told(name, short[name] | {"images.image100": torch.zeros(1, 8, 8, 3)})


READING = {name: node for name, node in NODES.items() if "validate_inputs" in vars(node)}


@pytest.mark.parametrize("name", [name for name, node in READING.items() if inspect.signature(node.validate_inputs).parameters])
def test_a_link_that_leads_nowhere_is_left_to_comfyui_to_refuse(name):
    """It passes the list that the link is written as, for each text that the node reads."""
    read = inspect.signature(NODES[name].validate_inputs).parameters
    texts = [each.id for each in NODES[name].define_schema().inputs if isinstance(each, io.String.Input) and each.id in read]
    assert texts
    for text in texts:
        assert NODES[name].validate_inputs(**{text: ["nowhere"]}) is True
