"""A person finds a task by its name: titles, ComfyUI's list of templates, and the words typed into its search."""

import re
from collections import Counter

import pytest

from workflows.source.words.titles import TITLES

OPEN = "() => { app.extensionManager.command.execute('Comfy.BrowseTemplates'); }"
CARDS = "[data-testid^='template-workflow-']"
SEARCH = "[role='dialog'] input"
SHOWN = f"""words => {{
    const box = document.querySelector("{SEARCH}");
    const cards = [...document.querySelectorAll("{CARDS}")].map(card => card.dataset.testid.replace('template-workflow-', ''));
    return box?.value === words && cards.length && cards;
}}"""
# What a person types, and the tasks that must be among the first.
TYPED = {
    "image to video": ("wan22_lightx2v_i2v", "wan22_i2v", "wan21_i2v", "demo_i2v"),
    "text to video": ("wan22_lightx2v_t2v", "wan22_t2v", "wan21_t2v", "demo_t2v"),
    "start end": ("wan22_lightx2v_start_end", "wan22_start_end", "wan21_start_end", "demo_start_end"),
    "extend": ("wan22_lightx2v_extension", "wan22_extension", "wan21_extension", "demo_extend"),
    "keyframes": ("wan22_lightx2v_keyframes", "wan21_keyframes", "demo_keyframes"),
    "transition": ("wan22_lightx2v_transition", "wan21_transition", "demo_transition"),
    "no download": tuple(name for name in TITLES if name.startswith("demo_")),
}


def test_titles_are_names_that_addresses_may_have():
    """Each says something else, also after ComfyUI has put spaces for what joins the words."""
    assert all(re.fullmatch("[A-Za-z0-9_.-]+", title) for title in TITLES.values())
    assert len({re.sub("[-_]", " ", title).lower() for title in TITLES.values()}) == len(TITLES)


def test_a_demo_says_that_nothing_is_downloaded():
    assert all(("no-download" in title) == ("demo" in name) for name, title in TITLES.items())


def test_the_graph_of_four_steps_comes_first_of_two():
    """At most two graphs for a task and a pair of experts, in the order of ComfyUI's sorting by name."""
    pairs = {title: title.split("_")[0] for title in sorted(TITLES.values()) if "_Wan2.2_" in title and not title.startswith("App")}
    assert max(Counter(pairs.values()).values()) == 2
    seen = {}
    for title, task in pairs.items():
        seen.setdefault(task, title)
    assert all(title.endswith("_4-steps") for title in seen.values())


@pytest.mark.parametrize("words", TYPED)
def test_typing_finds_the_task(editor, words):
    """In ComfyUI's list of all templates, its own included."""
    editor.visit(editor.url)
    editor.evaluate(OPEN)
    editor.wait(f'() => document.querySelector("{CARDS}")')
    editor.click(SEARCH)
    editor.type(words)
    editor.evaluate("() => new Promise(done => setTimeout(done, 1500))")  # it searches when one stops typing
    found = editor.wait(SHOWN, words)
    assert {TITLES[name] for name in TYPED[words]} <= set(found)
    editor.forget()  # no dialog stands before the next graph
    editor.wait("() => !document.querySelector(\"[role='dialog']\")")
