"""What a graph shows of every node: ids, sockets, widgets and words, before anything runs."""

import asyncio
import inspect
from pathlib import Path

import host_comfyui
import pusa
import pytest
from comfy_api.latest import io
from pusa.nodes.shared.common import CATEGORY

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
SCHEMAS = {name: node.GET_SCHEMA() for name, node in NODES.items()}
INPUTS = [(name, each) for name, schema in SCHEMAS.items() for each in schema.inputs]
every_node = pytest.mark.parametrize("name", NODES)
every_input = pytest.mark.parametrize("name, each", INPUTS, ids=[f"{name}-{each.id}" for name, each in INPUTS])


def default_of(each):
    return getattr(each, "default", None)


@every_node
def test_a_node_says_what_it_is_for_and_can_be_found(name):
    schema = SCHEMAS[name]
    schema.validate()
    assert name.startswith("Pusa") and name == NODES[name].__name__
    assert "Pusa" in schema.display_name and schema.category == CATEGORY
    assert schema.description.endswith(".") and len(schema.description) > 40
    assert len(set(schema.search_aliases)) == len(schema.search_aliases) >= 2


def test_display_names_are_all_different():
    assert len({schema.display_name for schema in SCHEMAS.values()}) == len(NODES)


@every_node
def test_every_socket_and_widget_has_a_tooltip(name):
    described = [*SCHEMAS[name].inputs, *SCHEMAS[name].outputs]
    described += [each.template.input for each in SCHEMAS[name].inputs if isinstance(each, io.Autogrow.Input)]
    for each in described:
        assert each.tooltip and each.tooltip.endswith("."), each.id


@every_input
def test_a_number_has_a_range_that_holds_its_default(name, each):
    if isinstance(each, (io.Int.Input, io.Float.Input)):
        assert each.min <= each.default <= each.max
        assert isinstance(each, io.Int.Input) or 0 < each.step < each.max - each.min


@every_input
def test_a_choice_offers_its_default(name, each):
    if isinstance(each, io.Combo.Input):
        assert each.default is None or each.default in each.options


def test_every_length_that_a_vae_takes_can_be_set():
    """4n + 1 and 6n + 1, by steps of the widget from its least value."""
    (frames,) = [each for each in SCHEMAS["PusaVideoFrames"].inputs if each.id == "frames"]
    assert all((factor * n + 1 - frames.min) % frames.step == 0 for factor in (4, 6) for n in range(20))


@every_node
def test_execute_takes_exactly_the_inputs_and_the_same_defaults(name):
    parameters = inspect.signature(NODES[name].execute).parameters
    assert set(parameters) == {each.id for each in SCHEMAS[name].inputs}
    for each in SCHEMAS[name].inputs:
        default = parameters[each.id].default
        assert default == (default_of(each) if each.optional else inspect.Parameter.empty)


@pytest.mark.parametrize("name", ["PusaKeyframes", "PusaLatentFrames"])
@pytest.mark.parametrize("text, answer", [("0, 2-last", True), (None, True), ("0, x", "`x` in `positions` is not a position")])
def test_positions_are_checked_before_the_graph_runs(name, text, answer):
    found = NODES[name].validate_inputs(positions=text)
    assert found is True if answer is True else found.startswith(answer)


@pytest.mark.parametrize("name", ["PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames", "PusaExtendVideo", "PusaTransition"])
@pytest.mark.parametrize("text, answer", [("0.0..0.5", True), (None, True), ("2", "the noise multiplier 2 is outside 0 to 1")])
def test_noise_is_checked_before_the_graph_runs(name, text, answer):
    found = NODES[name].validate_inputs(noise=text)
    assert found is True if answer is True else found.startswith(answer)


def sources() -> list[Path]:
    root = host_comfyui.ROOT
    files = [path for kind in ("py", "md", "toml", "ini", "js") for path in root.rglob(f"*.{kind}")]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def test_every_source_can_be_read_and_shown_on_a_western_windows():
    """Plain UTF-8 without a mark at the start, in characters that code page 1252 has too, so no emoji; Chinese words aside."""
    assert len(sources()) > 50
    for path in [path for path in sources() if "zh" not in (path.stem, path.parent.name)]:
        text = path.read_bytes().decode("utf-8")
        assert not text.startswith("\ufeff"), path
        text.encode("cp1252")
