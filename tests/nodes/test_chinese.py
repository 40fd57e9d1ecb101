"""The Chinese words are those of the nodes: nothing missing, nothing stale, and the pages say what the English ones say.

Chinese words in this file are escaped, so that it stays plain ASCII.
"""

import json
import re
from pathlib import Path

import host_comfyui
import pytest
from comfy_api.latest import io

ROOT = Path(__file__).resolve().parents[2]
WORDS = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
DEFAULT, TO, OPTIONAL = "\u9ed8\u8ba4 `{}`", "{:g} \u5230 {:g}", "\u53ef\u9009\u3002"  # default, to, optional
EMPTY = "\u9ed8\u8ba4\u4e3a\u7a7a"  # empty by default
GLOSSARY = ROOT / "locales" / "zh" / "glossary.md"
CHINESE = re.compile("[\u4e00-\u9fff]")

SCHEMAS = {schema.node_id: schema for schema in (node.define_schema() for node in host_comfyui.all_nodes())}
every_node = pytest.mark.parametrize("name", SCHEMAS)


def page(name: str, language: str) -> str:
    return (ROOT / "web" / "docs" / name / f"{language}.md").read_text(encoding="utf-8")


def sections(text: str) -> list[str]:
    return re.split(r"^## ", text, flags=re.MULTILINE)


def bullets(section: str) -> dict[str, str]:
    """The items of a list, by the word in backticks that each begins with; its name in the page may stand behind it."""
    items = re.split(r"^- ", section, flags=re.MULTILINE)[1:]
    return {re.match("`([^`]+)`(?:\uff08[^`]+?\uff09)?\uff1a", item)[1]: item for item in items}


def strings(value) -> list[str]:
    return [text for each in value.values() for text in strings(each)] if isinstance(value, dict) else [value]


def test_every_node_has_its_words_and_no_other():
    assert list(WORDS) == list(SCHEMAS)


@every_node
def test_every_word_of_a_node_is_translated(name):
    schema, words = SCHEMAS[name], WORDS[name]
    assert set(words) == {"display_name", "description", "inputs", "outputs"}
    assert list(words["inputs"]) == [each.id for each in schema.inputs]
    assert list(words["outputs"]) == [str(index) for index in range(len(schema.outputs))]
    sockets = [*words["inputs"].values(), *words["outputs"].values()]
    assert all(set(each) == {"name", "tooltip"} for each in sockets)
    assert all(CHINESE.search(text) for text in [words["description"], *(each["tooltip"] for each in sockets)])
    assert len({each["name"] for each in words["inputs"].values()}) == len(words["inputs"])
    assert "Pusa" in words["display_name"]


def test_one_thing_has_one_name():
    """Inputs of one id and type are called the same on every node, in Chinese but for what is not translated."""
    names = {}
    for schema in SCHEMAS.values():
        for each in schema.inputs:
            names.setdefault((each.id, each.get_io_type()), set()).add(WORDS[schema.node_id]["inputs"][each.id]["name"])
    assert all(len(found) == 1 for found in names.values())
    told = {name for found in names.values() for name in found if not CHINESE.search(name)}
    assert told == {"VAE", "Latent", "cfg", "Sigmas"}


@every_node
def test_a_page_says_terms_as_the_glossary_does(name):
    """Where an item of the English page has a term, that of the Chinese page has one of its words; names of nodes are no terms."""
    rows = re.findall(r"^\| ([a-z ]+) \| ([^|]+) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 20
    for ours, theirs in list(zip(sections(page(name, "en")), sections(page(name, "zh"))))[1:3]:  # inputs and outputs
        english = {item[1]: item[0] for item in re.finditer(r"^- `([^`]+)`.*(?:\n  .*)*", ours, re.MULTILINE)}
        chinese = bullets(theirs)
        assert english.keys() == chinese.keys()
        for key in english:
            text = re.sub(r"`[^`]*`|\*\*[^*]*\*\*|[A-Z]\w+ \(Pusa\)", "", english[key])
            for term, words in rows:
                if re.search(rf"\b{term}s?\b", text, re.IGNORECASE):
                    assert any(word in chinese[key] for word in words.split("\u3001")), (key, term)


@every_node
def test_a_page_names_inputs_and_outputs_as_the_node_does(name):
    schema, words, (_, inputs, outputs, *_) = SCHEMAS[name], WORDS[name], sections(page(name, "zh"))
    for each in schema.inputs:
        told = words["inputs"][each.id]["name"]
        assert told.lower() == each.id or bullets(inputs)[each.id].startswith(f"`{each.id}`\uff08{told}\uff09")
    for index, each in enumerate(schema.outputs):
        told = words["outputs"][str(index)]["name"]
        assert told.lower() == each.display_name or bullets(outputs)[each.display_name].startswith(
            f"`{each.display_name}`\uff08{told}\uff09"
        )


def test_names_are_all_different():
    assert len({words["display_name"] for words in WORDS.values()}) == len(WORDS)


def test_the_page_reads_words_as_they_are_written():
    """ComfyUI's page compiles them as vue-i18n messages, where these characters have a meaning of their own."""
    assert not [text for text in strings(WORDS) if re.search(r"[@{}|]", text)]


@every_node
def test_a_page_carries_both_names_of_its_node(name):
    text = page(name, "zh")
    assert text.startswith(f"# {WORDS[name]['display_name']}\n")
    assert SCHEMAS[name].display_name in sections(text)[0]


@every_node
def test_a_page_speaks_of_nodes_by_their_chinese_names(name):
    body = "## ".join(sections(page(name, "zh"))[1:])
    for found in re.finditer(r"\(Pusa\)", body):
        assert body[: found.end()].endswith(tuple(words["display_name"] for words in WORDS.values())), body[: found.end()][-30:]


@every_node
def test_inputs_and_outputs_are_those_of_the_node(name):
    schema, (_, inputs, outputs, *_) = SCHEMAS[name], sections(page(name, "zh"))
    assert list(bullets(outputs)) == [each.display_name for each in schema.outputs]
    said = bullets(inputs)
    assert list(said) == [each.id for each in schema.inputs]
    for each in schema.inputs:
        default = getattr(each, "default", None)
        if default is not None:
            shown = {False: "off", True: "on"}[default] if isinstance(default, bool) else default
            words = DEFAULT.format(f"{shown:g}" if isinstance(shown, float) else shown) if shown != "" else EMPTY
            assert words in said[each.id], each.id
        if isinstance(each, (io.Int.Input, io.Float.Input)) and each.id != "seed":
            assert TO.format(each.min, each.max) in said[each.id], each.id
        assert (OPTIONAL in said[each.id]) == (each.optional and default is None), each.id


def facts(text: str) -> list[str]:
    """What no language changes: names in backticks, numbers, tables' cells, pictures, and the number of items and titles."""
    marks = re.findall(r"^(?:- |\d\. |\||    \S)|\]\(.*?\)|\*\*", text, re.MULTILINE)
    return sorted([*re.findall(r"`[^`]+`|\d+(?:\.\d+)*", text), *marks])


@every_node
def test_a_page_says_what_the_english_one_says(name):
    english, chinese = sections(page(name, "en")), sections(page(name, "zh"))
    assert len(chinese) == len(english)
    for ours, theirs in zip(chinese, english):
        missing, extra = list(facts(theirs)), []
        for fact in facts(ours):
            missing.remove(fact) if fact in missing else extra.append(fact)
        assert (missing, extra) == ([], []), theirs.splitlines()[0]


@every_node
def test_a_paragraph_is_one_line(name):
    """A line break would become a space between two characters."""
    lines = page(name, "zh").splitlines()
    prose = [bool(line) and CHINESE.search(line[:1] + line[-1:]) is not None and line[0] not in "|#-" for line in lines]
    assert not any(first and second for first, second in zip(prose, prose[1:]))
