"""The help pages say what the nodes are: every input, every output, every default, and examples that the code agrees with.

A table on a page is one of the kinds in ``FACTS``, chosen by its header, and every row of it is checked.
"""

import re
from pathlib import Path

import host_comfyui
import pytest
from comfy_api.latest import io
from help_pages import DOCS, FACTS, bullets, page, place_line, section, tables
from PIL import Image
from pusa.schedulers.timeline.lines import CHOICES

SCHEMAS = [node.define_schema() for node in host_comfyui.all_nodes()]
every_node = pytest.mark.parametrize("schema", SCHEMAS, ids=[schema.node_id for schema in SCHEMAS])


def pictures(text: str) -> list[tuple[str, str]]:
    """Every picture of a page: its words, and its file as the page names it, from the folder of all pages on."""
    return re.findall(r"!\[(.*?)\]\((.*?)\)", text)


def test_there_is_a_page_for_every_node_in_every_language_and_nothing_but_their_pictures():
    found = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*") if path.is_file()}
    shown = {file for schema in SCHEMAS for _, file in pictures(page(schema.node_id))}
    assert found == {f"{schema.node_id}/{language}.md" for schema in SCHEMAS for language in ("en", "zh")} | shown


@every_node
def test_a_picture_is_small_and_says_in_words_what_it_shows(schema):
    shown = pictures(page(schema.node_id))
    assert shown
    for words, file in shown:
        assert file.startswith(f"{schema.node_id}/") and len(words) > 20
        assert (DOCS / file).stat().st_size < 40_000
        with Image.open(DOCS / file) as image:
            assert image.format == {".png": "PNG", ".jpg": "JPEG"}[Path(file).suffix] and image.width <= 1024


@every_node
def test_a_page_is_short_plain_text_under_the_name_of_its_node(schema):
    lines = page(schema.node_id).splitlines()
    assert lines[0] == f"# {schema.display_name}"
    assert 30 <= len(lines) <= 110


@every_node
def test_a_page_has_the_same_parts_as_every_other(schema):
    titles = re.findall(r"^## (.*)$", page(schema.node_id), re.MULTILINE)
    assert titles[:2] == ["Inputs", "Outputs"]
    assert titles[-2:] == ["How to use it", "When it looks wrong"]


@every_node
def test_every_input_is_explained_in_its_order(schema):
    assert list(bullets(section(page(schema.node_id), "Inputs"))) == [each.id for each in schema.inputs]


@every_node
def test_every_output_is_explained_in_its_order(schema):
    assert list(bullets(section(page(schema.node_id), "Outputs"))) == [each.display_name for each in schema.outputs]


@every_node
def test_defaults_ranges_and_choices_are_those_of_the_node(schema):
    said = bullets(section(page(schema.node_id), "Inputs"))
    for each in schema.inputs:
        default = getattr(each, "default", None)
        if default is not None:
            shown = {False: "off", True: "on"}[default] if isinstance(default, bool) else default
            shown = f"{shown:g}" if isinstance(shown, float) else shown
            assert (f"Default `{shown}`" if shown != "" else "Empty by default") in said[each.id], each.id
        if isinstance(each, (io.Int.Input, io.Float.Input)) and each.id != "seed":
            assert f"{each.min:g} to {each.max:g}" in said[each.id], each.id
        options = [option for option in getattr(each, "options", None) or [] if not str(option).endswith((".pt", ".safetensors"))]
        if default is not None and len(options) in range(1, 6):
            assert all(f"`{option}`" in said[each.id] for option in options), each.id
        assert ("Optional." in said[each.id]) == (each.optional and default is None), each.id


@every_node
def test_every_row_of_every_table_is_true(schema):
    for header, ruler, *rows in tables(page(schema.node_id)):
        assert set("".join(ruler)) == {"-"} and rows
        check = FACTS[tuple(header)]
        for row in rows:
            check(*row)


def test_every_option_of_a_timeline_is_explained_with_its_choices():
    said = bullets(section(page("PusaTimeline"), "Options"))
    assert list(said) == ["noise", "from", *CHOICES]
    item = place_line("0: a.png").item
    assert all(f"Default `{getattr(item, name)}`" in said[name] for name in ("noise", *CHOICES))
    for name, choices in CHOICES.items():
        assert all(f"`{choice}`" in said[name] for choice in choices)
    written = [example for words in said.values() for example in re.findall(r"`((?:from|renoise) [^`]+)`", words)]
    assert len(written) == 4
    for example in written:
        assert place_line(f"0: a.png{' ' if example.startswith('from') else ', '}{example}")
